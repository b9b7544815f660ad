"""VCF in, VariantReport out: every allele gets a score, a class by rule, or a reason."""

from __future__ import annotations

import hashlib
import importlib.metadata
import pickle
import platform
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genomics.catalogue import ModelFolder, open_model
from genomics.consequence import Consequence
from genomics.errors import ModelError, ReferenceGenomeError
from genomics.lstm import Ensemble, FlankLstmConfig
from genomics.output import ScoredFile, folder_of_parts, write_parts
from genomics.provider import ConsequenceProvider, open_provider
from genomics.report import RecordPlace, ScoredVariant, VariantReport
from genomics.rules import MISSENSE, classify_by_rule, why_not_scored
from genomics.states import ensemble_log_odds
from genomics.stream import (
    Cancelled,
    Progress,
    ScoredPart,
    ScoreOptions,
    Watch,
    handfuls,
)
from genomics.variant import Genotype
from genomics.vcf import Allele, VcfRecord, alleles, choose_sample, read_vcf
from genomics.vcf_lines import Part, count_records

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
    network: FlankLstmConfig
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
        try:
            hyper = {k: v for k, v in folder.config["network"].items() if k != "class"}
            network = FlankLstmConfig(**hyper)
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
        raw = self.log_odds(windows, mutants)
        line = self.folder.config["calibration"]
        log_odds = float(line["slope"]) * raw + float(line["intercept"])
        return _sigmoid(log_odds.mean(axis=1)), _sigmoid(log_odds).std(axis=1)

    def log_odds(self, windows: Sequence[str], mutants: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return each member's log-odds before calibration, shape (n, members)."""
        return ensemble_log_odds(self.ensemble, windows, mutants, self.network.flank)


def _sigmoid(log_odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-log_odds))


def score_vcf(
    vcf_path: str | Path,
    *,
    sample: str | None = None,
    reference: str | Path | None = None,
    genes: str | Path | None = None,
    model: str | Path = "missense-lstm",
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    out: Path | None = None,
    workers: int = 1,
    cluster: str | None = None,
) -> VariantReport:
    """Read a VCF, find what each allele does to its gene and score it for one sample.

    The file is read as a stream: what is held in memory does not grow with it.

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
    progress : callable, optional
        ``progress(done, total)`` in records; total is None where the file is too large to count.
    cancelled : callable, optional
        Asked between records; True stops the work.
    out : Path, optional
        Table or VCF to write on the way, every allele in it; see :mod:`genomics.output`.
    workers : int
        Processes that share the work, chromosome by chromosome.
    cluster : str, optional
        Address of a Dask scheduler whose workers share it instead.

    Returns
    -------
    VariantReport
        One entry per alternate allele, in the file's order; in large files, alleles beyond coding
        sequences are counted instead (:mod:`genomics.listing`). An allele that the sample does not
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
    options = ScoreOptions(Path(vcf_path), sample, reference, genes, model)
    scorer = Scorer.open(options)
    total = count_records(options.vcf)
    watch = Watch(progress or (lambda done, total: None), cancelled or (lambda: False), total)
    with folder_of_parts(out) as folder:
        if workers > 1 or cluster is not None:
            from genomics.shards import score_in_parts

            scored, bodies = score_in_parts(scorer, watch, out, folder, workers, cluster)
        else:
            bodies = [] if out is None else [folder / "body"]
            scored = scorer.score_part(watch, None, *((bodies[0], out.name) if out else ()))
        scorer.expect_common_sequences(scored)
        if out is not None:
            write_parts(out, read_vcf(options.vcf).header, bodies)
    run = _run_record(options.vcf, scorer.model, scorer.provider)
    run["options"] = {
        "sample": sample,
        "reference": None if reference is None else str(reference),
        "genes": None if genes is None else str(genes),
    }
    run["seconds"] = {each: round(value, 3) for each, value in scored.seconds.items()}
    run["seconds"]["all"] = round(time.perf_counter() - began, 3)
    listed, counted = scored.listing.result()
    return VariantReport(scorer.sample_id, listed, run, counted)


@dataclass(frozen=True)
class Scorer:
    """What is opened once to score a VCF, or parts of it.

    Attributes
    ----------
    options : ScoreOptions
    sample_id : str or None
    model : MissenseModel
    provider : ConsequenceProvider
    """

    options: ScoreOptions
    sample_id: str | None
    model: MissenseModel
    provider: ConsequenceProvider
    _sample: int | None

    @classmethod
    def open(cls, options: ScoreOptions) -> Scorer:
        """Open everything that the options name; see :func:`score_vcf` for the errors."""
        vcf = read_vcf(options.vcf)
        sample = choose_sample(vcf.header, options.sample, options.vcf)
        model = MissenseModel.load(options.model)
        provider = open_provider(vcf, options.reference, options.genes)
        return cls(
            options, None if sample is None else vcf.header.samples[sample], model, provider, sample
        )

    def score_part(
        self,
        watch: Watch,
        part: Part | None = None,
        body: Path | None = None,
        name: str = "",
    ) -> ScoredPart:
        """Score some lines of the VCF, or all, and write the output's body on the way.

        Parameters
        ----------
        watch : Watch
        part : Part, optional
            Lines to read; all if left out.
        body : Path, optional
            File to write.
        name : str
            Of the output that ``body`` is for.
        """
        if body is None:
            return self._score_part(watch, part, None)
        with body.open("wb") as stream:
            file = ScoredFile(stream, name)
            scored = self._score_part(watch, part, file)
            file.flush()
        return scored

    def _score_part(self, watch: Watch, part: Part | None, file: ScoredFile | None) -> ScoredPart:
        scored = ScoredPart()
        vcf = read_vcf(self.options.vcf, part=part)
        began, scoring = time.perf_counter(), 0.0
        for handful in handfuls(self._drafted(watch.over(vcf.records))):
            drafted = time.perf_counter()
            drafts = [each for _, group in handful for each in group]
            rest = iter(_fill_scores(drafts, self.model, watch))
            scoring += time.perf_counter() - drafted
            for record, group in handful:
                filled = list(islice(rest, len(group)))
                self._account(scored, filled)
                if file is not None:
                    file.add(record, filled)
        rest_of_time = time.perf_counter() - began - scoring
        scored.seconds = {"read_and_place": rest_of_time, "score": scoring}
        return scored

    def expect_common_sequences(self, scored: ScoredPart) -> None:
        """Refuse a reference that has none of the VCF's sequences.

        Raises
        ------
        ReferenceGenomeError
        """
        if scored.alleles and scored.foreign == scored.alleles:
            named = ", ".join(scored.foreign_names)
            raise ReferenceGenomeError(
                f"{self.options.vcf}: none of its sequences ({named[:80]}) is in the reference; "
                "give the reference that the VCF was called on"
            )

    def _drafted(
        self, records: Iterable[VcfRecord]
    ) -> Iterator[tuple[VcfRecord, list[ScoredVariant]]]:
        """Yield each record with its alleles' drafts."""
        waiting: deque[tuple[VcfRecord, int]] = deque()
        group: list[ScoredVariant] = []
        for draft in self._drafts(records, waiting):
            group.append(draft)
            if len(group) == waiting[0][1]:
                yield waiting.popleft()[0], group
                group = []

    def _drafts(
        self, records: Iterable[VcfRecord], waiting: deque[tuple[VcfRecord, int]]
    ) -> Iterator[ScoredVariant]:
        """Yield the drafts of all alleles; ``waiting`` gets each record and how many it has."""
        for record in records:
            found = alleles(record, self.provider.build)
            waiting.append((record, len(found)))
            for allele in found:
                yield _draft(record, allele, self._sample, self.provider)

    def _account(self, scored: ScoredPart, group: Sequence[ScoredVariant]) -> None:
        scored.listing.add(group)
        scored.records += 1
        scored.alleles += len(group)
        for each in group:
            # By name and not by reason: a symbolic allele has a reason of its own.
            if each.consequence is None and self.provider.is_foreign(each.variant.chrom):
                scored.note_foreign(each.variant.chrom)


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
    draft = ScoredVariant(allele.variant, genotype, consequence, record=place)
    reason = reason or _why_not_the_patients(genotype, allele)
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


def _why_not_the_patients(genotype: Genotype | None, allele: Allele) -> str | None:
    if genotype is None or not allele.index:
        return None
    carried = genotype.carries(allele.index)
    if carried is None:
        # Merging single-sample files writes ./. at every place that one of them does not have.
        return f"the genotype was not called: {genotype}"
    return None if carried else f"the sample does not carry the allele: genotype {genotype}"


def _fill_scores(
    drafts: Sequence[ScoredVariant], model: MissenseModel, watch: Watch
) -> list[ScoredVariant]:
    """Score every draft that still lacks a score, a class and a reason."""
    waiting = [
        (place, draft.consequence)
        for place, draft in enumerate(drafts)
        if draft.classification is None and draft.reason is None
    ]
    filled = list(drafts)
    for start in range(0, len(waiting), _BATCH):
        watch.expect_wanted()
        part = waiting[start : start + _BATCH]
        windows = [_known(consequence).window or "" for _, consequence in part]
        mutants = [_known(consequence).mutant or "" for _, consequence in part]
        probability, doubt = model.probability(windows, mutants)
        for (place, _), value, spread in zip(part, probability, doubt, strict=True):
            filled[place] = replace(
                drafts[place], score=float(value), doubt=float(spread), model=model.folder.name
            )
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
