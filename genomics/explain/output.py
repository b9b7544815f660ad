"""An explanation as a picture or a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genomics.explain.explanation import COLUMNS, RESIDUES
from genomics.explain.of_variant import VariantExplanation
from genomics.output import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Rows = Sequence[dict[str, Any]]
ENDINGS = (".png", ".tsv")
_DPI = 150
# By chemistry, so that likely replacements lie side by side: Taylor's groups.
_BY_CHEMISTRY = "GAVLIMCPFYWHKRDENQST"
_UP, _DOWN, _MUTANT, _LOSS = "#b2182b", "#2166ac", "#e08214", "#333333"
_CAVEAT = (
    "Log-odds before calibration. It shows what moved the model, not what the residue does in the "
    "protein. Not a medical device."
)


def write_explanation(found: VariantExplanation, path: Path) -> None:
    """Write an explanation as the ending of ``path`` asks, ``.png`` or ``.tsv``.

    Raises
    ------
    OutputError
        The file cannot be written there; nothing is left of it.
    """
    content = to_png(found) if path.name.endswith(".png") else to_tsv(found).encode()
    write_atomically(path, lambda stream: stream.write(content))


def to_tsv(found: VariantExplanation) -> str:
    """Return one row per residue; lines before the table begin with ``#`` and say the rest."""
    why = found.explanation
    lines = [
        f"# variant\t{found.title}",
        f"# model\t{found.run['model']}\t{found.run['weights_sha256']}",
        f"# score\t{found.probability:.4f}\tdoubt\t{found.doubt:.4f}",
        f"# log_odds\t{why.logit:.5f}\tbaseline\t{why.baseline_logit:.5f}"
        f"\tcompleteness_error\t{why.completeness_error:.5f}",
        f"# agreement\t{why.agreement:.4f}",
        *(f"# precedent\t{each}" for each in found.precedents),
        f"# precedents_from\t{found.precedents_from}",
        f"# {_CAVEAT}",
    ]
    columns = [*COLUMNS, *RESIDUES]
    lines.append("\t".join(columns))
    lines += ["\t".join(_cell(row[name]) for name in columns) for row in why.rows()]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return f"{value:.5f}" if isinstance(value, float) else str(value)


def to_png(found: VariantExplanation) -> bytes:
    """Draw attributions, mutagenesis and precedents, one above the other."""
    # Matplotlib takes half a second to load, which scoring should not pay.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 9.5), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    bars, heat, notes = figure.subplots(3, 1, height_ratios=[3, 4, 1.9])
    why = found.explanation
    figure.suptitle(
        f"{found.title}\n{found.run['model']}: probability {found.probability:.2f} "
        f"(doubt {found.doubt:.2f}); agreement of the two methods {why.agreement:.2f}",
        fontsize=13,
    )
    rows = why.rows()
    heat.sharex(bars)
    _draw_attributions(bars, found, rows)
    _draw_mutagenesis(heat, found, rows)
    _write_notes(notes, found)
    buffer = io.BytesIO()
    # Without its date, the same explanation is the same file.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_attributions(
    axes: Axes, found: VariantExplanation, rows: Sequence[dict[str, Any]]
) -> None:
    why, mutant = found.explanation, rows[-1]
    context = rows[:-1]
    offsets = [row["offset"] for row in context]
    values = [row["attribution"] for row in context]
    colours = [_UP if value > 0 else _DOWN for value in values]
    axes.bar(offsets, values, color=colours, width=0.8, label="residue: integrated gradients")
    axes.bar(
        [0], [mutant["attribution"]], color=_MUTANT, width=0.35, label="mutant residue", zorder=3
    )
    axes.plot(
        offsets,
        why.losses[:-1],
        ".",
        color=_LOSS,
        markersize=4,
        label="what is lost on average when it is replaced: mutagenesis",
    )
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylabel("log-odds\n← benign   pathogenic →")
    axes.set_title(
        f"What each residue brought, from average residues ({why.baseline_logit:.2f}) to this "
        f"change ({why.logit:.2f})",
        fontsize=11,
        loc="left",
    )
    axes.legend(loc="upper right", fontsize=9, framealpha=0.9)
    axes.margins(x=0.005)
    axes.tick_params(labelbottom=False)


def _draw_mutagenesis(
    axes: Axes, found: VariantExplanation, rows: Sequence[dict[str, Any]]
) -> None:
    why = found.explanation
    order = [RESIDUES.index(letter) for letter in _BY_CHEMISTRY]
    middle = len(why.window) // 2
    shown = np.full((len(RESIDUES), len(why.window)), np.nan)
    for row, effects in zip(rows, why.effects, strict=True):
        # The mutant's row comes last: in its column stands what other changes would score.
        shown[:, row["offset"] + middle] = effects[order]
    limit = max(float(np.nanpercentile(np.abs(shown), 99)), 1e-6)
    image = axes.imshow(
        shown,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
        extent=(-middle - 0.5, middle + 0.5, len(RESIDUES) - 0.5, -0.5),
    )
    axes.set_facecolor("#dddddd")
    for row in rows[:-1]:
        if row["role"] == "context" and row["residue"] in _BY_CHEMISTRY:
            axes.plot(row["offset"], _BY_CHEMISTRY.index(row["residue"]), "k.", markersize=2.5)
    if why.mutant in _BY_CHEMISTRY:
        axes.plot(0, _BY_CHEMISTRY.index(why.mutant), "kx", markersize=6)
    for edge in (-0.5, 0.5):
        axes.axvline(edge, color="black", linewidth=0.8)
    axes.set_yticks(range(len(RESIDUES)), list(_BY_CHEMISTRY), fontsize=8)
    offsets = range(-middle, middle + 1)
    letters = [f"{why.window[o + middle]}" + (f"\n{o:+d}" if o % 10 == 0 else "") for o in offsets]
    axes.set_xticks(list(offsets), letters, fontsize=7.5)
    axes.set_title(
        "Mutagenesis: change of the log-odds when a residue is replaced (dot: the residue that is "
        "there; middle column: other residues in the mutant's place, cross: the mutant)",
        fontsize=11,
        loc="left",
    )
    axes.set_ylabel("replaced by")
    axes.figure.colorbar(image, ax=axes, pad=0.01, fraction=0.02, label="log-odds")


def _write_notes(axes: Axes, found: VariantExplanation) -> None:
    axes.axis("off")
    precedents = [f"   {each}" for each in found.precedents] or ["   none"]
    text = "\n".join([f"Precedents ({found.precedents_from}):", *precedents])
    axes.text(0, 1, text, va="top", fontsize=9.5, transform=axes.transAxes)
    axes.text(0, 0, _CAVEAT, va="bottom", fontsize=9, style="italic", transform=axes.transAxes)
