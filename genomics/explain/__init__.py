"""Why a missense variant has its score: attributions, mutagenesis, precedents."""
