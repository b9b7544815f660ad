"""VCF in, VariantReport out: every allele gets a score, a class by rule, or a reason."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from genomics.calibration import sigmoid
from genomics.catalogue import MISSENSE_FORMAT, ModelFolder, open_model
from genomics.consequence import Consequence
from genomics.drafts import draft_records
from genomics.errors import ModelError, ReferenceGenomeError, RefMismatchError
from genomics.ledger import expect_closed
from genomics.missense.judgement import Judgement, judgement
from genomics.missense.networks import Ensemble, NetworkConfig
from genomics.missense.novelty import novelty
from genomics.missense.states import ensemble_log_odds
from genomics.missense.transformer import NETWORKS
from genomics.nucleotide.score import score_nucleotides
from genomics.output import Body, bodies_in, folder_of_parts, scored_file, write_outputs
from genomics.preflight import Preflight, preflight
from genomics.preflight.build import LEAST_REF_MATCH
from genomics.provider import REF_CONTRADICTS, ConsequenceProvider, open_provider
from genomics.report import ScoredVariant, VariantReport
from genomics.run_record import library_versions, run_record
from genomics.stream import (
    Cancelled,
    Progress,
    ScoredPart,
    ScoreOptions,
    Watch,
    handfuls,
)
from genomics.vcf import choose_sample, read_vcf
from genomics.vcf.lines import Part, count_records

__all__ = ["MissenseModel", "Scorer", "library_versions", "score_vcf"]

_BATCH = 1024


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
        raw = self.log_odds(windows, mutants)
        line = self.folder.config["calibration"]
        log_odds = float(line["slope"]) * raw + float(line["intercept"])
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

    def log_odds(self, windows: Sequence[str], mutants: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return each member's log-odds before calibration, shape (n, members)."""
        return ensemble_log_odds(self.ensemble, windows, mutants, self.network.flank)


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
    out: str | Path | Sequence[Path] = (),
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
    lenient : bool
        Read on where a line breaks a rule of form only; the run record says what was let pass.
    looked : callable, optional
        Is given what the preflight found, before the scoring begins.
    progress : callable, optional
        ``progress(done, total)`` in records; total is None where the file is too large to count.
    cancelled : callable, optional
        Asked between records; True stops the work.
    out : path or sequence of Path
        Files to write, tables and VCFs on the way and with every allele; see
        :mod:`genomics.output`.
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
    options = ScoreOptions(Path(vcf_path), sample, reference, genes, model, lenient)
    outs = [Path(out)] if isinstance(out, str | Path) else list(out)
    found = _looked_into(options)
    scorer = Scorer.open(options)
    if looked is not None:
        looked(found)
    total = count_records(options.vcf)
    watch = Watch(progress or (lambda done, total: None), cancelled or (lambda: False), total)
    shared = workers > 1 or cluster is not None
    with folder_of_parts(outs) if outs or shared else nullcontext(Path()) as folder:
        if shared:
            from genomics.shards import score_in_parts

            scored, bodies = score_in_parts(scorer, watch, outs, folder, workers, cluster)
        else:
            bodies = [bodies_in(folder, 0, outs)]
            scored = scorer.score_part(watch, None, bodies[0])
        scorer.expect_common_sequences(scored)
        scorer.expect_matching_ref(scored)
        run = run_record(options, scorer.model.folder, scorer.provider, found, scored)
        run["seconds"]["all"] = round(time.perf_counter() - began, 3)
        listed, counted = scored.listing.result()
        report = VariantReport(scorer.sample_id, listed, run, counted)
        expect_closed(report.ledger)
        write_outputs(outs, report, options.vcf, bodies)
    return report


def _looked_into(options: ScoreOptions) -> Preflight:
    """Return the preflight of what is to be scored, unless it refuses it."""
    # A mistaken sample is said first: the preflight looks at them all.
    header = read_vcf(options.vcf, lenient=options.lenient).header
    choose_sample(header, options.sample, options.vcf)
    found = preflight(options.vcf, options.reference, lenient=options.lenient)
    found.refuse()
    return found


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
        vcf = read_vcf(options.vcf, lenient=options.lenient)
        sample = choose_sample(vcf.header, options.sample, options.vcf)
        model = MissenseModel.load(options.model)
        provider = open_provider(vcf, options.reference, options.genes)
        return cls(
            options, None if sample is None else vcf.header.samples[sample], model, provider, sample
        )

    def score_part(
        self, watch: Watch, part: Part | None = None, bodies: Sequence[Body] = ()
    ) -> ScoredPart:
        """Score some lines of the VCF, or all, and write the outputs' bodies on the way.

        Parameters
        ----------
        watch : Watch
        part : Part, optional
            Lines to read; all if left out.
        bodies : sequence of Body
            Files to write.
        """
        scored = ScoredPart()
        vcf = read_vcf(self.options.vcf, lenient=self.options.lenient, part=part)
        began, scoring = time.perf_counter(), 0.0
        records = draft_records(scored.read(watch.over(vcf.records)), self._sample, self.provider)
        with ExitStack() as stack:
            files = [stack.enter_context(scored_file(body, self.options.vcf)) for body in bodies]
            for handful in handfuls(records):
                drafted = time.perf_counter()
                rest = iter(self._filled([each for _, group in handful for each in group], watch))
                scoring += time.perf_counter() - drafted
                for record, group in handful:
                    filled = list(islice(rest, len(group)))
                    self._account(scored, filled)
                    for file in files:
                        file.add(record, filled)
        scored.deviations = vcf.deviations
        rest_of_time = time.perf_counter() - began - scoring
        scored.seconds = {"read_and_place": rest_of_time, "score": scoring}
        return scored

    def _filled(self, drafts: Sequence[ScoredVariant], watch: Watch) -> list[ScoredVariant]:
        return score_nucleotides(_fill_scores(drafts, self.model, watch), self.provider)

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

    def expect_matching_ref(self, scored: ScoredPart) -> None:
        """Refuse what the preflight's sample did not show: too many contradict the reference.

        Of the few in a large file that do, each has that reason.

        Raises
        ------
        RefMismatchError
        """
        if scored.contradicting > (1 - LEAST_REF_MATCH) * scored.alleles:
            raise RefMismatchError(
                f"{self.options.vcf}: {scored.contradicting} of {scored.alleles} alleles: "
                f"{scored.contradiction}; give the reference that the VCF was called on"
            )

    def _account(self, scored: ScoredPart, group: Sequence[ScoredVariant]) -> None:
        scored.listing.add(group)
        scored.alleles += len(group)
        for each in group:
            # By name and not by reason: a symbolic allele has a reason of its own.
            if each.consequence is None and self.provider.is_foreign(each.variant.chrom):
                scored.note_foreign(each.variant.chrom)
            if each.reason and each.reason.startswith(REF_CONTRADICTS):
                scored.note_contradiction(each.reason)


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
        for (place, _), judged in zip(part, model.judge(windows, mutants), strict=True):
            filled[place] = replace(drafts[place], model=model.folder.name, **asdict(judged))
    return filled


def _known(consequence: Consequence | None) -> Consequence:
    if consequence is None:
        raise ValueError("a variant without a consequence cannot be scored")
    return consequence
