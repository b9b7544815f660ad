"""``nucleotide-lstm`` in use: a score where it was shown to be of use, else why it is silent."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genomics.catalogue import ModelFolder, open_model
from genomics.errors import ModelError
from genomics.metrics import Floats
from genomics.nucleotide.context import FLANK_BP, SiteContext, spoken_for
from genomics.nucleotide.dataset import SCORABLE, consequence_class
from genomics.nucleotide.network import (
    NucleotideBatch,
    NucleotideEnsemble,
    NucleotideLstmConfig,
    class_index,
    encode_sites,
)
from genomics.nucleotide.verdicts import probabilities
from genomics.provider import ConsequenceProvider
from genomics.report import ScoredVariant
from genomics.rules import why_not_scored

MODEL_NAME = "nucleotide-lstm"
_BATCH = 512
_BASES = frozenset("ACGT")


@dataclass(frozen=True)
class NucleotideModel:
    """The ensemble with its calibration and its verdict for each consequence class.

    Attributes
    ----------
    folder : ModelFolder
        Where it came from.
    """

    folder: ModelFolder

    @classmethod
    def load(cls, name: str | Path = MODEL_NAME) -> NucleotideModel:
        """Open a built-in model by name, or a trained one by its folder; weights come when used.

        Raises
        ------
        ModelError
            There is no such model, or its files are damaged.
        """
        folder = open_model(name)
        if not isinstance(folder.config.get("verdicts"), dict):
            raise ModelError(f"{folder.path}: is no {MODEL_NAME}; it has no verdicts by class")
        return cls(folder)

    @property
    def verdicts(self) -> Mapping[str, Mapping[str, Any]]:
        """What was measured in each class, its calibration, and whether it scores."""
        found: Mapping[str, Mapping[str, Any]] = self.folder.config["verdicts"]
        return found

    def scores(self, name: str) -> bool:
        """Whether the model speaks about a consequence class."""
        return bool(self.verdicts.get(name, {}).get("scores", False))

    @cached_property
    def ensemble(self) -> NucleotideEnsemble:
        """The networks, ready for use."""
        try:
            hyper = {k: v for k, v in self.folder.config["network"].items() if k != "class"}
            ensemble = NucleotideEnsemble(NucleotideLstmConfig(**hyper), len(SCORABLE))
            state = torch.load(self.folder.weights, map_location="cpu", weights_only=True)
            ensemble.load_state_dict(state)
        except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
            path = self.folder.path
            raise ModelError(f"{path}: damaged ({error}); train or install again") from error
        return ensemble.eval()

    def log_odds_of(self, batch: NucleotideBatch, classes: torch.Tensor) -> Floats:
        """Return each member's log-odds of pathogenic before calibration, (n, members).

        ``classes`` are indices into ``SCORABLE``, int64, shape (n,).
        """
        parts = [torch.empty((0, len(self.ensemble.networks)))]
        with torch.inference_mode():
            for start in range(0, len(batch), _BATCH):
                chosen = slice(start, start + _BATCH)
                parts.append(self.ensemble(batch[chosen], classes[chosen]))
        return torch.cat(parts).double().numpy()

    def probability(
        self, sites: Sequence[SiteContext], classes: Sequence[str]
    ) -> tuple[Floats, Floats]:
        """Return the calibrated probability of pathogenic and its doubt, shape (n,) each.

        Parameters
        ----------
        sites : sequence of SiteContext
        classes : sequence of str
            The consequence class of each; only classes for which :meth:`scores` is True.

        Raises
        ------
        ValueError
            The model is silent about one of the classes.
        """
        silent = sorted({name for name in classes if not self.scores(name)})
        if silent:
            raise ValueError(f"{self.folder.name} does not score {', '.join(silent)}")
        index = torch.tensor([class_index(name) for name in classes], dtype=torch.int64)
        flank = int(self.folder.config["network"]["flank"])
        members = self.log_odds_of(encode_sites(sites, flank), index)
        probability, doubt = np.empty(len(sites)), np.empty(len(sites))
        for row, name in enumerate(classes):
            line = self.verdicts[name]["calibration"]
            each = probabilities(np.append(members[row].mean(), members[row]), line)
            probability[row], doubt[row] = each[0], each[1:].std()
        return probability, doubt


def score_nucleotides(
    drafts: Sequence[ScoredVariant],
    provider: ConsequenceProvider,
    name: str | Path = MODEL_NAME,
) -> list[ScoredVariant]:
    """Score the variants that neither a rule nor the missense model covers, where that is possible.

    Parameters
    ----------
    drafts : sequence of ScoredVariant
        Changed are single-base changes of the sample that have no score and no class yet, and
        synonymous ones, where the model speaks about those.
    provider : ConsequenceProvider
        Its reference and genes give the bases around; without them nothing can be scored.

    Returns
    -------
    list of ScoredVariant
        As many, in the same order: with a score and its doubt, or with the reason why the model is
        silent.
    """
    waiting = [place for place, draft in enumerate(drafts) if _is_open(draft)]
    if not waiting:
        return list(drafts)
    model = NucleotideModel.load(name)
    filled, sites, places = list(drafts), [], []
    for place in waiting:
        site, reason = _site(drafts[place], provider, model)
        if site is None:
            if drafts[place].classification is None:
                filled[place] = replace(drafts[place], reason=reason)
            continue
        sites.append(site)
        places.append(place)
    classes = [_class(drafts[place]) for place in places]
    for place, value, doubt in zip(places, *model.probability(sites, classes), strict=True):
        filled[place] = replace(
            drafts[place],
            score=float(value),
            doubt=float(doubt),
            model=model.folder.name,
            reason=None,
            classification=None,
        )
    return filled


def _class(draft: ScoredVariant) -> str:
    term = draft.consequence.term if draft.consequence else ""
    return consequence_class(term, draft.variant.chrom)


def _is_open(draft: ScoredVariant) -> bool:
    """Whether only the want of a model kept the variant from a score."""
    if draft.consequence is None or draft.score is not None or _class(draft) not in SCORABLE:
        return False
    single = draft.variant.ref in _BASES and draft.variant.alt in _BASES
    untouched = draft.reason == why_not_scored(draft.consequence)
    return single and (draft.classification is not None or untouched)


def _site(
    draft: ScoredVariant, provider: ConsequenceProvider, model: NucleotideModel
) -> tuple[SiteContext | None, str]:
    """Return the bases around a variant, or why the model does not score it."""
    name = _class(draft)
    if not model.scores(name):
        return None, (
            f"{name}: {model.folder.name} is silent, it was not shown to say more than the "
            "consequence"
        )
    reference, caller = provider.reference, provider.caller
    if reference is None or caller is None:
        return None, f"{name}: needs --reference and --genes to be scored"
    variant, consequence = draft.variant, draft.consequence
    found = reference.name_of(variant.chrom)
    transcript = spoken_for(
        caller.overlapping(variant), None if consequence is None else consequence.transcript
    )
    if found is None or transcript is None:
        return None, f"{name}: the transcript is not in the GFF3"
    first, last = variant.position - FLANK_BP, variant.position + FLANK_BP
    length = reference.lengths[found]
    bases = reference.bases(found, max(first, 1), min(last, length))
    window = "N" * max(1 - first, 0) + bases + "N" * max(last - length, 0)
    return SiteContext.on(transcript, variant.position, window, variant.alt), ""
