"""Whose variants they are is settled before anything is computed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genomics.synthetic import SyntheticCase, write_synthetic_case
from napari_precimed.core.patient import Case, Patient
from napari_precimed.errors import InputError, PatientMismatchError
from napari_precimed.pipeline import AnalyseOptions, analyse


@pytest.fixture
def genome(tmp_path: Path) -> SyntheticCase:
    return write_synthetic_case(tmp_path / "genome", "A")


def with_samples(genome: SyntheticCase, *samples: str) -> Path:
    """The synthetic VCF with these samples, all of one genotype; without any, if there are none."""
    lines = []
    for line in genome.vcf.read_text().splitlines():
        fields = line.split("\t")
        if not line.startswith("##"):
            values = samples if line.startswith("#") else fields[9:10] * len(samples)
            fields = [*fields[: 9 if samples else 8], *values]
        lines.append("\t".join(fields))
    path = genome.vcf.with_name(f"{'-'.join(samples) or 'nobody'}.vcf")
    path.write_text("\n".join(lines) + "\n")
    return path


def options(genome: SyntheticCase, vcf: Path, sample: str | None = None) -> AnalyseOptions:
    return AnalyseOptions(vcf=vcf, sample=sample, reference=genome.fasta, genes=genome.gff3)


def test_several_samples_none_of_them_the_patient(genome: SyntheticCase) -> None:
    vcf = with_samples(genome, "A", "B")
    with pytest.raises(PatientMismatchError) as refused:
        analyse(Case(Patient("P1")), options(genome, vcf))
    assert str(refused.value).startswith(
        "The scan is of patient 'P1'; the VCF's samples are A, B: none has that id. "
        "--sample ID says which of them is the same person"
    )
    assert refused.value.samples == ("A", "B")


def test_a_sample_that_the_vcf_does_not_have(genome: SyntheticCase) -> None:
    with pytest.raises(InputError, match=r"no sample 'C'; it has A, B\."):
        analyse(Case(Patient("P1")), options(genome, with_samples(genome, "A", "B"), "C"))


def test_the_refusal_comes_before_torch_is_imported(genome: SyntheticCase) -> None:
    vcf = with_samples(genome, "A", "B")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from napari_precimed.core.patient import Case, Patient\n"
        "from napari_precimed.errors import PatientMismatchError\n"
        "from napari_precimed.pipeline import AnalyseOptions, analyse\n"
        "try:\n"
        f"    analyse(Case(Patient('P1')), AnalyseOptions(vcf=Path({str(vcf)!r})))\n"
        "except PatientMismatchError:\n"
        "    sys.exit(3 if 'torch' in sys.modules else 7)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7


def test_the_patients_own_sample_is_taken_among_several(genome: SyntheticCase) -> None:
    case = analyse(Case(Patient("B")), options(genome, with_samples(genome, "A", "B")))
    assert (case.sample_link.sample_id, case.sample_link.reason) == ("B", "same id")


def test_a_vcf_without_samples_is_refused_with_the_way_out(genome: SyntheticCase) -> None:
    with pytest.raises(PatientMismatchError, match=r"no sample columns.*--sample P1 "):
        analyse(Case(Patient("P1")), options(genome, with_samples(genome)))


@pytest.mark.parametrize("sample", ["P1", "whoever"])
def test_a_vcf_without_samples_is_mapped_by_naming_any(genome: SyntheticCase, sample: str) -> None:
    case = analyse(Case(Patient("P1")), options(genome, with_samples(genome), sample))
    assert case.variants.scored
    link = case.sample_link
    assert (link.sample_id, link.patient_id) == (None, "P1")
    assert link.reason == "mapped by the user"
