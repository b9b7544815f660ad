from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from genomics_toys import write_toy_genome, write_vcf

from genomics.errors import (
    BuildMismatchError,
    CancelledError,
    GenesError,
    InputError,
    ModelError,
    ReferenceGenomeError,
    RefMismatchError,
    ReportFormatError,
    SampleError,
)
from genomics.report import DISRUPTIVE, NEUTRAL, ScoredVariant, VariantReport
from genomics.score import MissenseModel, score_vcf
from genomics.synthetic import SyntheticCase, write_synthetic_case
from genomics.vcf import alleles, read_vcf


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCase:
    return write_synthetic_case(tmp_path_factory.mktemp("synthetic"), "DEMO-PATIENT")


@pytest.fixture(scope="module")
def report(case: SyntheticCase) -> VariantReport:
    return score_vcf(case.vcf, reference=case.fasta, genes=case.gff3)


def _expect_closed(report: VariantReport) -> None:
    ledger = report.ledger
    counted = ledger["scored"] + ledger["by_rule"] + sum(ledger["not_scored"].values())
    assert ledger["alleles"] == counted == len(report.scored)
    for each in report.scored:
        answers = (each.score, each.classification, each.reason)
        assert sum(answer is not None for answer in answers) == 1
        assert (each.score is None) == (each.model is None) == (each.doubt is None)
        assert each.score is None or 0 <= each.score <= 1


def test_out_come_as_many_alleles_as_went_in_and_in_order(
    case: SyntheticCase, report: VariantReport
) -> None:
    expected = [
        (record.line_number, allele.index, allele.variant.alt)
        for record in read_vcf(case.vcf).records
        for allele in alleles(record, None)
    ]
    got = [
        (each.record.line_number, each.record.allele_index, each.variant.alt)
        for each in report.scored
        if each.record
    ]
    assert got == expected
    assert report.sample_id == "DEMO-PATIENT"
    assert report.ledger["records"] == report.ledger["alleles"] - 1
    _expect_closed(report)


def test_every_kind_of_change_is_answered_in_its_way(report: VariantReport) -> None:
    by_term: dict[str, list[ScoredVariant]] = {}
    for each in report.scored:
        if each.consequence is not None and str(each.genotype) not in {"0/0", "./."}:
            by_term.setdefault(each.consequence.term, []).append(each)
    assert len(by_term["missense_variant"]) >= 24
    assert all(each.score is not None for each in by_term["missense_variant"])
    for term, label in (
        ("stop_gained", DISRUPTIVE),
        ("frameshift_variant", DISRUPTIVE),
        ("splice_donor_variant", DISRUPTIVE),
        ("splice_acceptor_variant", DISRUPTIVE),
        ("synonymous_variant", NEUTRAL),
    ):
        classes = [each.classification for each in by_term[term]]
        assert classes
        assert all(one and one.label == label and one.rule.startswith(term) for one in classes)
    for term in ("inframe_deletion", "intron_variant", "intergenic_variant"):
        assert all(each.reason and each.reason.startswith(term) for each in by_term[term])


def test_what_the_patient_does_not_carry_is_not_scored_and_a_missing_call_is_not_that(
    report: VariantReport,
) -> None:
    by_genotype = {str(each.genotype): each for each in report.scored}
    assert "does not carry" in str(by_genotype["0/0"].reason)
    assert by_genotype["./."].reason == "the genotype was not called: ./."
    assert by_genotype["./."].zygosity is None


def test_both_alleles_of_one_record_are_answered_and_share_it(report: VariantReport) -> None:
    pair = [each for each in report.scored if str(each.genotype) == "1/2"]
    assert len(pair) == 2
    assert pair[0].record == replace(pair[1].record, allele_index=1)  # type: ignore[type-var]
    assert [each.zygosity for each in pair] == ["heterozygous", "heterozygous"]


def test_the_ranking_puts_the_disruptive_first_and_the_absent_last(report: VariantReport) -> None:
    ranked = report.ranked()
    assert sorted(map(id, ranked)) == sorted(map(id, report.scored))
    classes = [one.classification.label for one in ranked if one.classification]
    assert classes == sorted(classes)
    scores = [each.score for each in ranked if each.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert ranked[0].classification is not None
    assert ranked[-1].classification is None
    assert ranked[-1].score is None


def test_a_report_comes_back_from_json_unchanged(report: VariantReport) -> None:
    back = VariantReport.from_json(report.to_json())
    assert back == report
    assert back.ledger == report.ledger


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1}'])
def test_what_is_not_a_report_is_refused(text: str) -> None:
    with pytest.raises(ReportFormatError, match="score the VCF again"):
        VariantReport.from_json(text)


def test_the_table_leaves_unknown_values_empty(report: VariantReport) -> None:
    frame = report.to_frame()
    assert len(frame) == len(report.scored)
    assert frame["score"].isna().sum() == len(frame) - report.ledger["scored"]
    assert not (frame["score"] == 0).any()
    assert report.to_tsv().count("\n") == len(frame) + 1


def test_the_run_record_names_model_weights_and_input(
    case: SyntheticCase, report: VariantReport
) -> None:
    import hashlib

    model = MissenseModel.load("missense-lstm")
    assert report.run["model"] == "missense-lstm"
    assert report.run["weights_sha256"] == model.folder.weights_sha256()
    assert report.run["input_sha256"] == hashlib.sha256(case.vcf.read_bytes()).hexdigest()
    assert {"python", "torch", "numpy"} <= set(report.run["versions"])


def test_progress_counts_to_the_end_and_cancel_stops(case: SyntheticCase) -> None:
    seen: list[tuple[int, int | None]] = []
    options = {"reference": case.fasta, "genes": case.gff3}
    score_vcf(case.vcf, progress=lambda done, total: seen.append((done, total)), **options)
    assert seen[0] == (0, 41)
    assert seen[-1] == (41, 41)
    with pytest.raises(CancelledError):
        score_vcf(case.vcf, cancelled=lambda: True, **options)


def test_the_same_substitution_scores_the_same_alone_and_in_a_batch() -> None:
    model = MissenseModel.load("missense-lstm")
    windows = ["-" * 40 + "MKTAYIAKQR" + letter + "QLEEKSHKIT" + "A" * 40 for letter in "ACDEFG"]
    mutants = ["W", "L", "P", "K", "S", "R"]
    together, _ = model.probability(windows, mutants)
    alone = [model.probability([w], [m])[0][0] for w, m in zip(windows, mutants, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)


def _toy(tmp_path: Path, rows: list[str], samples: str = "P", **more: object) -> dict[str, Path]:
    files = write_toy_genome(tmp_path)
    vcf = write_vcf(tmp_path / "v.vcf", rows, samples, **more)  # type: ignore[arg-type]
    return {"vcf_path": vcf, "reference": files.fasta, "genes": files.gff3}


def test_a_contradicted_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefMismatchError, match=r"REF is C, .*has G"):
        score_vcf(**_toy(tmp_path, ["toy_plus 24 . C A . . . GT 0/1"]))


def test_another_build_is_refused(tmp_path: Path) -> None:
    given = _toy(tmp_path, [], header=("##contig=<ID=toy_plus,length=5000>",))
    with pytest.raises(BuildMismatchError, match="5000"):
        score_vcf(**given)


def test_a_reference_without_any_of_the_sequences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReferenceGenomeError, match=r"none of its sequences \(chr7\)"):
        score_vcf(**_toy(tmp_path, ["chr7 24 . C A . . . GT 0/1"]))


def test_one_foreign_sequence_is_a_reason_not_a_refusal(tmp_path: Path) -> None:
    rows = ["toy_plus 24 . G A . . . GT 0/1", "chr7 24 . C A . . . GT 0/1"]
    known, foreign = score_vcf(**_toy(tmp_path, rows)).scored
    assert known.score is not None
    assert foreign.reason == "the sequence is not in the reference: chr7"


def test_another_patients_sample_and_missing_files_are_refused(tmp_path: Path) -> None:
    given = _toy(tmp_path, ["toy_plus 24 . G A . . . GT 0/1"])
    with pytest.raises(SampleError, match=r"'SOMEONE'.*P"):
        score_vcf(**given, sample="SOMEONE")
    with pytest.raises(ModelError, match=r"nonsense.*missense-lstm"):
        score_vcf(**given, model="nonsense")
    with pytest.raises(InputError, match="--reference FASTA and --genes GFF3"):
        score_vcf(given["vcf_path"])
    with pytest.raises(GenesError, match="--genes GFF3 is missing"):
        score_vcf(given["vcf_path"], reference=given["reference"])


def test_a_file_without_samples_has_no_patient(tmp_path: Path) -> None:
    report = score_vcf(**_toy(tmp_path, ["toy_plus 24 . G A . . ."], samples=""))
    assert report.sample_id is None
    assert report.scored[0].genotype is None
    assert report.scored[0].score is not None


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "sample", "fewest_scored"),
    [
        ("hcc1395_vep.vcf.gz", "HCC1395_TUMOR_DNA", 320),
        ("643594.clinical.vcf.gz", "ADM1059A1", 0),
        ("643594.clinical.SV.vcf.gz", "ADM1059A3", 0),
    ],
)
def test_real_files_are_scored_whole(
    shared_data: Path, name: str, sample: str, fewest_scored: int
) -> None:
    report = score_vcf(shared_data / "genomics/vcf/real" / name, sample=sample)
    _expect_closed(report)
    assert report.ledger["scored"] >= fewest_scored
    assert VariantReport.from_json(report.to_json()) == report


@pytest.mark.data
def test_a_genotype_less_relative_is_not_the_patient(shared_data: Path) -> None:
    path = shared_data / "genomics/vcf/real/643594.clinical.vcf.gz"
    carried = {
        sample: sum(each.zygosity not in {None, "not carried"} for each in report.scored)
        for sample in ("ADM1059A1", "ADM1059A2")
        for report in [score_vcf(path, sample=sample)]
    }
    assert carried["ADM1059A1"] != carried["ADM1059A2"]
