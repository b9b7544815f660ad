"""VCF in, VariantReport out: every allele gets a score, a class by rule, or a reason."""

from __future__ import annotations

import hashlib
import importlib.metadata
import pickle
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genomics.calibration import sigmoid
from genomics.catalogue import MISSENSE_FORMAT, ModelFolder, open_model
from genomics.compound import Placed, read_together
from genomics.consequence import Consequence
from genomics.encode import encode_missense
from genomics.errors import CancelledError, ModelError, ReferenceGenomeError, RefMismatchError
from genomics.judgement import Judgement, judgement
from genomics.networks import Ensemble, NetworkConfig
from genomics.normalise import normalised
from genomics.novelty import novelty
from genomics.nucleotide_score import score_nucleotides
from genomics.preflight import Preflight, preflight
from genomics.preflight_build import LEAST_REF_MATCH
from genomics.provider import REF_CONTRADICTS, ConsequenceProvider, open_provider
from genomics.report import RecordPlace, ScoredVariant, VariantReport
from genomics.rules import MISSENSE, classify_by_rule, why_not_scored
from genomics.transformer import NETWORKS
from genomics.variant import Genotype
from genomics.vcf import (
    UNSPECIFIED,
    Allele,
    VcfFile,
    VcfRecord,
    alleles,
    choose_sample,
    read_vcf,
)
from genomics.vcf_lines import count_records

Progress = Callable[[int, int | None], None]
Cancelled = Callable[[], bool]

_RECORDS_PER_REPORT = 200
_BATCH = 1024
_LIBRARIES = ("napari-precimed", "torch", "numpy", "biopython", "pyfaidx")


@dataclass(frozen=True)
class MissenseModel:
    """The missense ensemble with its calibration.

    Attributes
    ----------
    folder : ModelFolder
        Where it came from.
    """

    folder: ModelFolder
    network: NetworkConfig
    ensemble: Ensemble

    @classmethod
    def load(cls, name: str | Path) -> MissenseModel:
        """Load a built-in model by name, or a trained one by its folder.

        Raises
        ------
        ModelError
            There is no such model, or its files are damaged.
        """
        folder = open_model(name)
        if folder.config.get("format") != MISSENSE_FORMAT:
            raise ModelError(
                f"{folder.path}: format {folder.config.get('format')!r}, this reads "
                f"{MISSENSE_FORMAT}; train it again"
            )
        try:
            hyper = dict(folder.config["network"])
            network = NETWORKS[hyper.pop("class")](**hyper)
            ensemble = Ensemble(network)
            state = torch.load(folder.weights, map_location="cpu", weights_only=True)
            ensemble.load_state_dict(state)
            float(folder.config["calibration"]["slope"])
        except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise ModelError(f"{folder.path}: damaged ({error}); train or install again") from error
        return cls(folder, network, ensemble.eval())

    def probability(
        self, windows: Sequence[str], mutants: Sequence[str]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the calibrated probability of pathogenic and its doubt.

        Parameters
        ----------
        windows : sequence of str
            Wild-type protein windows, the substituted residue in the middle.
        mutants : sequence of str
            The residue that replaces it, one letter each.

        Returns
        -------
        probability, doubt : ndarray, shape (n,)
            In 0..1; ``doubt`` is the standard deviation over the ensemble's members.
        """
        raw = [
            self._log_odds(windows[start : start + _BATCH], mutants[start : start + _BATCH])
            for start in range(0, len(windows), _BATCH)
        ]
        if not raw:
            return np.empty(0), np.empty(0)
        line = self.folder.config["calibration"]
        log_odds = float(line["slope"]) * np.concatenate(raw) + float(line["intercept"])
        return sigmoid(log_odds.mean(axis=1)), sigmoid(log_odds).std(axis=1)

    def judge(self, windows: Sequence[str], mutants: Sequence[str]) -> list[Judgement]:
        """Return each substitution's probability with what may be read from it, and what not.

        Parameters are those of :meth:`probability`.
        """
        probability, doubt = self.probability(windows, mutants)
        unusual = novelty(self.folder.config["novelty"], windows, mutants)
        return [
            judgement(self.folder.config, float(value), float(spread), why)
            for value, spread, why in zip(probability, doubt, unusual, strict=True)
        ]

    def _log_odds(self, windows: Sequence[str], mutants: Sequence[str]) -> npt.NDArray[np.float64]:
        with torch.inference_mode():
            batch = encode_missense(windows, mutants, self.network.flank)
            return self.ensemble(batch).double().numpy()


def score_vcf(
    vcf_path: str | Path,
    *,
    sample: str | None = None,
    reference: str | Path | None = None,
    genes: str | Path | None = None,
    model: str | Path = "missense-lstm",
    lenient: bool = False,
    looked: Callable[[Preflight], None] | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> VariantReport:
    """Read a VCF, find what each allele does to its gene and score it for one sample.

    Parameters
    ----------
    vcf_path : path
        VCF, plain, gzip or bgzip.
    sample : str, optional
        The patient's column; needed where the file has several.
    reference, genes : path, optional
        FASTA and GFF3, both or neither. Not needed where VEP (``CSQ``) or SnpEff (``ANN``)
        annotated the file; where both are at hand, FASTA and GFF3 speak first.
    model : str or path
        A built-in model's name or a trained model's folder.
    lenient : bool
        Read on where a line breaks a rule of form only; the run record says what was let pass.
    looked : callable, optional
        Is given what the preflight found, before the scoring begins.
    progress : callable, optional
        ``progress(done, total)`` in records; total is None where the file is too large to count.
    cancelled : callable, optional
        Asked between records; True stops the work.

    Returns
    -------
    VariantReport
        One entry per alternate allele, in the file's order. An allele that the sample does not
        carry, or whose genotype was not called (``./.``; ``./0`` of the first ALT), has a reason
        instead of a score; ``./1`` carries it. Where the file has no samples, or a record's FORMAT
        no GT, nothing was said against the allele: it is scored, and its zygosity is None.

    Raises
    ------
    InputError
        One of its children: the VCF, sample, reference, genes or model is not usable.
    CancelledError
        ``cancelled`` said so.
    """
    began = time.perf_counter()
    path = Path(vcf_path)
    vcf = read_vcf(path, lenient=lenient)
    index = choose_sample(vcf.header, sample, path)
    found = preflight(path, reference, lenient=lenient)
    found.refuse()
    loaded = MissenseModel.load(model)
    provider = open_provider(vcf, reference, genes)
    if looked is not None:
        looked(found)
    total = count_records(path)
    watch = _Watch(progress or (lambda done, total: None), cancelled or (lambda: False), total)
    placed = (
        _draft(record, allele, index, provider)
        for record in watch.over(vcf)
        for allele in alleles(record, provider.build)
    )
    drafts = list(_read_together(placed, provider))
    _expect_common_sequences(drafts, provider, path)
    _expect_matching_ref(drafts, path)
    read = time.perf_counter()
    scored = score_nucleotides(_fill_scores(drafts, loaded, watch), provider)
    run = _run_record(path, loaded, provider)
    run["preflight"] = found.to_dict()
    run["records_read"] = watch.records_read
    if vcf.deviations is not None:
        run["deviations"] = asdict(vcf.deviations)
    run["options"] = {
        "sample": sample,
        "reference": None if reference is None else str(reference),
        "genes": None if genes is None else str(genes),
    }
    run["seconds"] = {
        "read_and_place": round(read - began, 3),
        "score": round(time.perf_counter() - read, 3),
    }
    sample_id = None if index is None else vcf.header.samples[index]
    return VariantReport(sample_id, tuple(scored), run)


@dataclass
class _Watch:
    """Reports progress, stops when asked and counts what was read."""

    progress: Progress
    cancelled: Cancelled
    total: int | None
    records_read: int = 0

    def over(self, vcf: VcfFile) -> Iterable[VcfRecord]:
        done = 0
        self.step(done)
        for done, record in enumerate(vcf.records, start=1):
            self.records_read = done
            if done % _RECORDS_PER_REPORT == 0:
                self.step(done)
            yield record
        self.step(done)

    def step(self, done: int) -> None:
        if self.cancelled():
            raise CancelledError("scoring was cancelled")
        self.progress(done, self.total)


def _draft(
    record: VcfRecord, allele: Allele, sample: int | None, provider: ConsequenceProvider
) -> ScoredVariant:
    """Return the allele with everything but a model's score."""
    genotype = None if sample is None else record.genotype(sample)
    identifier, filters = record.fields[2], record.fields[6]
    place = RecordPlace(
        record.line_number,
        allele.index,
        record.key,
        None if identifier == "." else identifier,
        None if filters == "." else filters,
    )
    consequence, reason = provider.place(record, allele)
    draft = ScoredVariant(
        allele.variant,
        genotype,
        consequence,
        record=place,
        normalised=normalised(allele.variant, provider.reference),
    )
    reason = _why_not_called(genotype, allele) or reason or _why_not_the_patients(genotype, allele)
    return _classified(draft, reason)


def _read_together(
    drafts: Iterable[ScoredVariant], provider: ConsequenceProvider
) -> Iterator[ScoredVariant]:
    """Yield the drafts, those that meet in a codon read as the sample's haplotypes have them."""
    if provider.caller is None:
        yield from drafts
        return
    held: deque[ScoredVariant] = deque()
    for consequence in read_together(_placed(drafts, held), provider.caller):
        draft = held.popleft()
        if consequence is not draft.consequence:
            draft = replace(draft, consequence=consequence, classification=None, reason=None)
            draft = _classified(draft, None)
        yield draft


def _placed(drafts: Iterable[ScoredVariant], held: deque[ScoredVariant]) -> Iterator[Placed]:
    for draft in drafts:
        held.append(draft)
        line, index = (
            (draft.record.line_number, draft.record.allele_index) if draft.record else (0, 0)
        )
        yield Placed(draft.variant, draft.genotype, line, index, draft.consequence)


def _classified(draft: ScoredVariant, reason: str | None) -> ScoredVariant:
    """Return a draft with its class by rule, or the reason why it gets none and no score."""
    consequence = draft.consequence
    if reason is not None:
        return replace(draft, reason=reason)
    if consequence is None:
        return replace(draft, reason="no gene is annotated at this place")
    classification = classify_by_rule(consequence)
    if classification is not None:
        return replace(draft, classification=classification)
    if consequence.term == MISSENSE and consequence.window is not None:
        return draft
    return replace(draft, reason=why_not_scored(consequence))


def _expect_common_sequences(
    drafts: Sequence[ScoredVariant], provider: ConsequenceProvider, path: Path
) -> None:
    if provider.reference is None:
        return
    # By name and not by reason: a symbolic allele has a reason of its own.
    foreign = [
        each
        for each in drafts
        if each.consequence is None and provider.reference.name_of(each.variant.chrom) is None
    ]
    if drafts and len(foreign) == len(drafts):
        named = ", ".join(dict.fromkeys(each.variant.chrom for each in foreign[:1000]))
        raise ReferenceGenomeError(
            f"{path}: none of its sequences ({named[:80]}) is in the reference; "
            "give the reference that the VCF was called on"
        )


def _expect_matching_ref(drafts: Sequence[ScoredVariant], path: Path) -> None:
    """Refuse what the preflight's sample did not show: too many records contradict the reference.

    Of the few in a large file that do, each has that reason.
    """
    wrong = [each for each in drafts if each.reason and each.reason.startswith(REF_CONTRADICTS)]
    if len(wrong) > (1 - LEAST_REF_MATCH) * len(drafts):
        raise RefMismatchError(
            f"{path}: {len(wrong)} of {len(drafts)} alleles: {wrong[0].reason}; "
            "give the reference that the VCF was called on"
        )


def _why_not_called(genotype: Genotype | None, allele: Allele) -> str | None:
    """Return why a reference block says nothing: a copy that was not called is not reference."""
    if genotype is None or None not in genotype.alleles:
        return None
    if allele.index and allele.variant.alt not in UNSPECIFIED:
        return None
    return f"the genotype was not called: {genotype}"


def _why_not_the_patients(genotype: Genotype | None, allele: Allele) -> str | None:
    if genotype is None or not allele.index:
        return None
    carried = genotype.carries(allele.index)
    if carried is None:
        # Merging single-sample files writes ./. at every place that one of them does not have.
        return f"the genotype was not called: {genotype}"
    return None if carried else f"the sample does not carry the allele: genotype {genotype}"


def _fill_scores(
    drafts: Sequence[ScoredVariant], model: MissenseModel, watch: _Watch
) -> list[ScoredVariant]:
    """Score every draft that still lacks a score, a class and a reason."""
    waiting = [
        (place, draft.consequence)
        for place, draft in enumerate(drafts)
        if draft.classification is None and draft.reason is None
    ]
    filled = list(drafts)
    for start in range(0, len(waiting), _BATCH):
        watch.step(watch.total or 0)
        part = waiting[start : start + _BATCH]
        windows = [_known(consequence).window or "" for _, consequence in part]
        mutants = [_known(consequence).mutant or "" for _, consequence in part]
        for (place, _), judged in zip(part, model.judge(windows, mutants), strict=True):
            filled[place] = replace(drafts[place], model=model.folder.name, **asdict(judged))
    return filled


def _known(consequence: Consequence | None) -> Consequence:
    if consequence is None:
        raise ValueError("a variant without a consequence cannot be scored")
    return consequence


def _run_record(path: Path, model: MissenseModel, provider: ConsequenceProvider) -> dict[str, Any]:
    return {
        "model": model.folder.name,
        "weights_sha256": model.folder.weights_sha256(),
        "input": path.name,
        "input_sha256": _sha256(path),
        "build": provider.build,
        "consequences_from": provider.description,
        "device": "cpu",
        "precision": "float32",
        "versions": library_versions(),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a score rests on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # Run from a source tree that was never installed.
            continue
    return found
