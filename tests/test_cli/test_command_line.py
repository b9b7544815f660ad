"""What the commands write and print on a scan small enough to segment in seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from endings import Command, tree

from genomics.synthetic import SyntheticCase
from genomics.vcf import read_vcf
from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Volume
from napari_precimed.io.itk import read_labels, write_volume
from napari_precimed.io.phantom import phantom_ct, phantom_truth
from napari_precimed.pipeline import RESULT_FILES


def _genome_options(genome: SyntheticCase) -> tuple[object, ...]:
    return ("--vcf", genome.vcf, "--reference", genome.fasta, "--genes", genome.gff3)


def test_segment_writes_labels_on_the_grid_of_the_scan(
    precimed: Command, tmp_path: Path, small_ct: Path, small_volume: Volume
) -> None:
    output = tmp_path / "labels.nii.gz"
    ended = precimed("segment", small_ct, "--model", "lung-nodule", "-o", output, "--json")
    assert (ended.code, ended.err) == (0, "")
    printed = json.loads(ended.out)
    scan, labels = sitk.ReadImage(str(small_ct)), sitk.ReadImage(str(output))
    assert labels.GetSize() == scan.GetSize()
    for part in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(labels, part)(), getattr(scan, part)(), atol=1e-3)
    written = read_labels(output, small_volume)
    assert sorted(set(np.unique(written)) - {0}) == [one["label"] for one in printed["lesions"]]
    assert printed["labels"] == str(output)
    assert printed["runs"][0]["model"].startswith("lung-nodule ")
    assert list(tree(tmp_path)) == ["labels.nii.gz"]


def test_segment_replaces_an_earlier_file_and_says_where(
    precimed: Command, tmp_path: Path, small_ct: Path
) -> None:
    output = tmp_path / "labels.nrrd"
    output.write_text("of an earlier run")
    ended = precimed("segment", small_ct, "--model", "lung-nodule", "-o", output)
    assert (ended.code, ended.err) == (0, "")
    assert f"lesions in {output}" in ended.out
    assert output.read_bytes().startswith(b"NRRD")


def test_classify_gives_each_lesion_its_chances(
    precimed: Command, small_ct: Path, small_labels: Path
) -> None:
    line = ("classify", small_ct, small_labels, "--model", "lung-nodule-malignancy")
    ended = precimed(*line, "--json")
    assert (ended.code, ended.err) == (0, "")
    (lesion,) = json.loads(ended.out)["lesions"]
    assert sum(lesion["probabilities"].values()) == pytest.approx(1)
    assert lesion["label"] == 1
    shown = precimed(*line)
    assert f"lesion 1: {lesion['volume_mm3']:.0f} mm³" in shown.out


def test_slices_are_classified_without_labels(precimed: Command, tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(100, 20, (5, 64, 64)).astype(np.float32)
    geometry = Geometry.from_parts(array.shape, (5.0, 3.75, 3.75), (0.0, 0.0, 0.0))
    scan = tmp_path / "flair.nii.gz"
    write_volume(scan, Volume(array, geometry, "MR"))
    line = ("classify", scan, "--model", "tumour-slice")
    ended = precimed(*line, "--json")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert [each["index"] for each in found["slices"]] == [0, 1, 2, 3, 4]
    assert {each["axis"] for each in found["slices"]} == {0}
    assert all(0 <= each["probability"] <= 1 for each in found["slices"])
    assert found["runs"][0]["weights_sha256"]
    assert precimed(*line).out.startswith("slice 0: tumour ")


def test_models_are_listed_as_text_and_as_json(precimed: Command) -> None:
    listed = json.loads(precimed("models", "--json").out)["models"]
    named = {entry["name"]: entry["task"] for entry in listed}
    assert named["lung-nodule"] == "segmentation"
    assert named["lung-nodule-malignancy"] == "classification"
    text = precimed("models")
    assert text.code == 0
    assert all(name in text.out for name in named)


def test_analyse_writes_every_file_and_prints_one_json_object(
    precimed: Command, tmp_path: Path, small_ct: Path, genome: SyntheticCase
) -> None:
    out = tmp_path / "new" / "results"
    patient = ("--patient", "P1", "--out", out, "--json")
    ended = precimed("analyse", small_ct, *_genome_options(genome), *patient)
    assert (ended.code, ended.err) == (0, "")
    printed = json.loads(ended.out)
    assert {path.name for path in out.iterdir()} == set(RESULT_FILES)
    assert {name: str(out / name) for name in RESULT_FILES} == printed["files"]
    assert all((out / name).stat().st_size for name in RESULT_FILES)
    assert printed["patient"] == "P1"
    alleles = sum(len(record.alts) for record in read_vcf(genome.vcf).records)
    assert printed["variants"]["alleles"] == alleles
    rows = [row for row in (out / "variants.tsv").read_text().splitlines() if row[0] != "#"]
    assert len(rows) == alleles + 1
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_naming_the_sample_maps_it_and_the_mapping_is_recorded(
    precimed: Command, tmp_path: Path, small_ct: Path, genome: SyntheticCase
) -> None:
    out = tmp_path / "results"
    said = ("--patient", "SCAN-7", "--sample", "P1", "--out", out)
    ended = precimed("analyse", small_ct, *_genome_options(genome), *said)
    assert (ended.code, ended.err) == (0, "")
    link = json.loads((out / "run.json").read_text())["sample_link"]
    assert (link["patient_id"], link["sample_id"]) == ("SCAN-7", "P1")
    assert link["reason"] == "mapped by the user"
    assert "mapped" in (out / "report.html").read_text()
    assert "Patient SCAN-7" in ended.out
    assert str(out / "report.html") in ended.out


def test_the_variants_of_an_earlier_patient_do_not_stay_beside_the_report(
    precimed: Command, tmp_path: Path, small_ct: Path
) -> None:
    (tmp_path / "variants.tsv").write_text("of another patient")
    (tmp_path / "notes.txt").write_text("mine")
    ended = precimed("analyse", small_ct, "--out", tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {*RESULT_FILES, "notes.txt"} - {
        "variants.tsv"
    }


def test_the_command_in_a_process_of_its_own(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "napari_precimed", "analyse", str(tmp_path / "absent.nii.gz")]
    done = subprocess.run(
        [*line, "--out", str(tmp_path / "results")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert tree(tmp_path) == {}


def test_no_command_shows_the_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "napari_precimed"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "analyse" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_demo_finds_every_nodule_of_the_synthetic_patient(
    precimed: Command, tmp_path: Path
) -> None:
    out = tmp_path / "demo"
    ended = precimed("demo", "--no-viewer", "--out", out)
    assert (ended.code, ended.err) == (0, "")
    assert f"The report is {out / 'report.html'}" in ended.out
    assert {*RESULT_FILES, "genome"} == {path.name for path in out.iterdir()}
    volume = phantom_ct()
    labels = read_labels(out / "labels.nii.gz", volume)
    for nodule in phantom_truth("ct"):
        centre = np.rint(volume.geometry.world_to_index(nodule.centre_mm)).astype(int)
        assert labels[tuple(centre)] > 0
    assert labels.max() <= 20  # vessels are marked too, but the list stays one that can be read
