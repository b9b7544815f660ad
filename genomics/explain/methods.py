"""What in the protein moved a missense score: integrated gradients and in-silico mutagenesis.

Both are asked of the mean log-odds of the ensemble's members, before calibration. Nothing is
assumed of the network but that residues enter it through ``torch.nn.Embedding`` with the batch as
first axis: which of its tokens stand for which place of the window is found by changing the
window, one residue at a time, and looking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from genomics.encode import encode_missense
from genomics.errors import ExplanationError
from genomics.explain.explanation import GAP_LETTER, RESIDUES, Explanation
from genomics.score import MissenseModel

Floats = npt.NDArray[np.float64]
Encoder = Callable[[Sequence[str], Sequence[str]], Any]
FIRST_STEPS, MOST_STEPS = 32, 512
COMPLETENESS_TOLERANCE = 0.01
"""In log-odds: what the attributions' sum may miss; the integral is refined until it is met."""
_BATCH = 512


@dataclass(frozen=True)
class WindowNetwork:
    """A network over protein windows, as an explanation sees it.

    Attributes
    ----------
    module : torch.nn.Module
        Called with what ``encode`` returns it gives log-odds, shape (n,) or (n, members).
    encode : callable
        ``encode(windows, mutants)``: wild-type windows, the substituted residue in the middle, and
        the residue that replaces each.
    """

    module: nn.Module
    encode: Encoder

    @classmethod
    def of(cls, model: MissenseModel) -> WindowNetwork:
        """Return the network of a missense model."""
        flank = model.network.flank
        return cls(
            model.ensemble, lambda windows, mutants: encode_missense(windows, mutants, flank)
        )

    def log_odds(self, windows: Sequence[str], mutants: Sequence[str]) -> torch.Tensor:
        """Return the mean log-odds over the members, float64, shape (n,)."""
        found: torch.Tensor = self.module(self.encode(windows, mutants))
        return found.double().reshape(len(windows), -1).mean(dim=1)


@dataclass(frozen=True)
class _Question:
    """A substitution and every single change of its context.

    ``places`` are offsets into the window, the mutant residue last. Row 0 of a batch is the
    substitution itself, row ``1 + 20 * k + a`` has residue ``a`` at place ``k``.
    """

    window: str
    mutant: str
    places: list[int]

    @classmethod
    def of(cls, window: str, mutant: str) -> _Question:
        inside = [place for place, letter in enumerate(window) if letter != GAP_LETTER]
        return cls(window, mutant, [*inside, len(window)])

    def rows(self) -> tuple[list[str], list[str]]:
        """Return the windows and the mutants of the batch."""
        windows, mutants = [self.window], [self.mutant]
        for place in self.places[:-1]:
            before, after = self.window[:place], self.window[place + 1 :]
            windows += [before + residue + after for residue in RESIDUES]
            mutants += [self.mutant] * len(RESIDUES)
        windows += [self.window] * len(RESIDUES)
        return windows, mutants + list(RESIDUES)


def explain_substitution(network: WindowNetwork, window: str, mutant: str) -> Explanation:
    """Explain the score of one substitution.

    Parameters
    ----------
    network : WindowNetwork
    window : str
        The wild-type protein around it, of odd length, ``-`` beyond the protein's ends.
    mutant : str
        The residue that replaces the middle one.

    Returns
    -------
    Explanation
        Its attributions sum to the difference of the log-odds within ``COMPLETENESS_TOLERANCE``.

    Raises
    ------
    ExplanationError
        The network does not read residues through an embedding, or its integral does not settle.

    Notes
    -----
    Integrated gradients: Sundararajan, Taly and Yan, ICML 2017, along the straight line between
    embeddings. The baseline is a protein of the same length made of average residues: at every
    place inside the protein, and for the mutant, the mean of the twenty residues' embeddings. So
    nothing is said about the place, and the network sees no token that it was not trained on. The
    integral is taken by Gauss and Legendre's rule.
    """
    question = _Question.of(window, mutant)
    was_training = network.module.training
    network.module.eval()
    try:
        logits, seen = _mutate(network, question)
        baseline_logit, attributions = _attribute(network, question, seen, logits[0])
    finally:
        network.module.train(was_training)
    effects = (logits[1:] - logits[0]).reshape(len(question.places), len(RESIDUES))
    return Explanation(
        window=window,
        mutant=mutant,
        places=tuple(question.places),
        attributions=attributions,
        effects=effects,
        logit=float(logits[0]),
        baseline_logit=baseline_logit,
    )


@dataclass(frozen=True)
class _Seen:
    """What one call of an embedding gave: row 0's vectors, and where each place of the window is.

    Attributes
    ----------
    original : torch.Tensor
        float, shape (1, ..., width).
    average : torch.Tensor
        The same with every token that a place governs replaced by its mean over 20 residues.
    governs : list of torch.Tensor
        For each place, which tokens it governs: bool, shape (1, ...).
    """

    original: torch.Tensor
    average: torch.Tensor
    governs: list[torch.Tensor]


def _mutate(network: WindowNetwork, question: _Question) -> tuple[Floats, list[_Seen]]:
    """Return the log-odds of every row, and what each embedding call saw of them."""
    windows, mutants = question.rows()
    # Whole places only, so that each batch can be compared with the unchanged row at its head.
    size = max(1, _BATCH // len(RESIDUES)) * len(RESIDUES)
    logits: list[Floats] = []
    calls: list[list[torch.Tensor]] = []
    with torch.no_grad():
        for start in range(1, len(windows), size):
            chosen = slice(start, start + size)
            part = (windows[:1] + windows[chosen], mutants[:1] + mutants[chosen])
            with _recorded(network.module, len(part[0])) as outputs:
                found = network.log_odds(*part).numpy()
            logits.append(found if not logits else found[1:])
            calls.append(outputs)
    if not calls[0]:
        raise ExplanationError(
            "this network reads residues by no torch.nn.Embedding; only such networks can be "
            "explained"
        )
    return np.concatenate(logits), [_seen(parts) for parts in zip(*calls, strict=True)]


def _seen(parts: Sequence[torch.Tensor]) -> _Seen:
    original = parts[0][:1]
    average, governs = original.clone(), []
    for part in parts:
        for changed in part[1:].split(len(RESIDUES)):
            differs = (changed != original).any(dim=-1).any(dim=0, keepdim=True)
            average = torch.where(differs[..., None], changed.mean(dim=0, keepdim=True), average)
            governs.append(differs)
    return _Seen(original, average, governs)


@contextmanager
def _recorded(module: nn.Module, rows: int) -> Iterator[list[torch.Tensor]]:
    """Collect the output of every embedding call, in order."""
    outputs: list[torch.Tensor] = []

    def keep(_: nn.Module, __: Any, output: torch.Tensor) -> None:
        if output.shape[0] != rows:
            raise ExplanationError(
                f"an embedding was asked for {output.shape[0]} rows where the batch has {rows}; "
                "only networks with the batch as first axis can be explained"
            )
        outputs.append(output)

    with _hooked(module, keep):
        yield outputs


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handles = [
        each.register_forward_hook(hook)
        for each in module.modules()
        if isinstance(each, nn.Embedding)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attribute(
    network: WindowNetwork, question: _Question, seen: list[_Seen], logit: float
) -> tuple[float, Floats]:
    """Return the baseline's log-odds and the attribution of every place."""
    steps = FIRST_STEPS
    while steps <= MOST_STEPS:
        baseline, attributions = _integrate(network, question, seen, steps)
        error = float(attributions.sum()) - (logit - baseline)
        if abs(error) <= COMPLETENESS_TOLERANCE:
            return baseline, attributions
        steps *= 2
    raise ExplanationError(
        f"the attributions miss the difference of the log-odds by {error:.3f} after {MOST_STEPS} "
        "steps; this network is too steep along the line to be explained so"
    )


def _integrate(
    network: WindowNetwork, question: _Question, seen: list[_Seen], steps: int
) -> tuple[float, Floats]:
    """Integrate the gradient from average residues to the substitution, in every call."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    baseline, total = 0.0, np.zeros(len(question.places))
    along = torch.tensor([0.0, *((nodes + 1) / 2)], dtype=torch.float32)
    weight = torch.tensor([0.0, *(weights / 2)], dtype=torch.float64)
    for points, shares in zip(along.split(_BATCH), weight.split(_BATCH), strict=True):
        logits, leaves = _along(network, question, seen, points)
        gradients = torch.autograd.grad(logits.sum(), leaves)
        for call, gradient in zip(seen, gradients, strict=True):
            mean = torch.tensordot(shares, gradient.double(), dims=1)
            parts = ((call.original - call.average)[0].double() * mean).sum(dim=-1)
            total += [float(parts[place[0]].sum()) for place in call.governs]
        baseline = float(logits[0].detach()) if points[0] == 0 else baseline
    return baseline, total


def _along(
    network: WindowNetwork, question: _Question, seen: list[_Seen], points: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the log-odds at points of the line, and the embeddings put in at each call."""
    leaves: list[torch.Tensor] = []

    def replace(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        call = seen[len(leaves)]
        share = points.reshape(-1, *[1] * (call.original.dim() - 1))
        point = (call.average + share * (call.original - call.average)).detach()
        leaves.append(point.requires_grad_())
        return leaves[-1]

    rows = len(points)
    with _hooked(network.module, replace), torch.enable_grad():
        logits = network.log_odds([question.window] * rows, [question.mutant] * rows)
    return logits, leaves
