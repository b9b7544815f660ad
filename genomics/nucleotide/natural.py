"""Places of annotated genes, from which a network learns what bases belong there.

Labelled changes are few. But every gene sequence shows, thousands of times, which base nature has
at a splice site, at a codon's third place, at a start: whoever can tell the real base from another
has learnt what a change there breaks, without a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from genomics.genes import Transcript
from genomics.nucleotide.context import FLANK_BP, SiteContext
from genomics.nucleotide.dataset import GeneSequence

_NEAR_SITE_INTRON_BP, _NEAR_SITE_EXON_BP = 25, 6
_ELSEWHERE_PER_SITE = 8
_BASES = frozenset("ACGT")


def natural_sites(sequences: Sequence[GeneSequence], seed: int = 0) -> pd.DataFrame:
    """Return places of every gene's longest coding transcript, in their context.

    Parameters
    ----------
    sequences : sequence of GeneSequence
    seed : int
        Of the places far from splice sites, which are drawn.

    Returns
    -------
    pandas.DataFrame
        ``window``, ``change`` (the base that is there itself), ``layout`` and ``unit`` (the gene):
        every base up to 25 into an intron and 6 into an exon from a splice site, and eight times
        as many places elsewhere in the transcript as it has splice sites.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for sequence in sequences:
        if sequence.is_mitochondrial:
            continue
        padded = "N" * FLANK_BP + sequence.bases + "N" * FLANK_BP
        for transcript in _longest(sequence):
            for position in _places(transcript, draw):
                window = padded[position - 1 : position + 2 * FLANK_BP]
                if len(window) == 2 * FLANK_BP + 1 and window[FLANK_BP] in _BASES:
                    context = SiteContext.on(transcript, position, window, window[FLANK_BP])
                    rows.append((context.window, context.alt, context.layout, transcript.gene))
    return pd.DataFrame(rows, columns=["window", "change", "layout", "unit"])


def _longest(sequence: GeneSequence) -> Iterable[Transcript]:
    by_gene: dict[str, Transcript] = {}
    for each in sequence.transcripts:
        held = by_gene.get(each.gene)
        if each.coding and (held is None or _coding_length(each) > _coding_length(held)):
            by_gene[each.gene] = each
    return by_gene.values()


def _coding_length(transcript: Transcript) -> int:
    return sum(last - first + 1 for first, last in transcript.coding)


def _places(transcript: Transcript, draw: np.random.Generator) -> list[int]:
    near: set[int] = set()
    for first, last in transcript.introns:
        near.update(range(first - _NEAR_SITE_EXON_BP, first + _NEAR_SITE_INTRON_BP))
        near.update(range(last - _NEAR_SITE_INTRON_BP + 1, last + _NEAR_SITE_EXON_BP + 1))
    low, high = transcript.span
    count = _ELSEWHERE_PER_SITE * 2 * len(transcript.introns)
    exons = [place for first, last in transcript.exons for place in range(first, last + 1)]
    # Half of them from exons, which are a small part of most genes.
    elsewhere = [*draw.integers(low, high + 1, count // 2), *draw.choice(exons, count // 2)]
    return sorted({*near, *(int(place) for place in elsewhere)})
