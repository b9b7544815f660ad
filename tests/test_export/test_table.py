"""Tables say what is known, with units, and leave the unknown empty."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_precimed.core.geometry import AxisOrder
from napari_precimed.core.lesion import Lesion
from napari_precimed.core.patient import Case
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import OutputError
from napari_precimed.export.table import (
    lesion_frame,
    run_json,
    stored_slice,
    write_lesions_csv,
    write_lesions_json,
    write_run_json,
    write_variants_tsv,
)


def test_csv_gives_each_lesion_back(case: Case, tmp_path: Path) -> None:
    write_lesions_csv(tmp_path / "lesions.csv", case)
    table = pd.read_csv(tmp_path / "lesions.csv", dtype={"series_uid": str})
    assert table["patient_id"].tolist() == ["P-01"] * 3
    assert table["label"].tolist() == [1, 2, 3]
    assert table["volume_mm3"].tolist() == pytest.approx(
        [each.volume_mm3 for each in case.lesion_sets[0]]
    )
    assert table["intensity_unit"].tolist() == ["HU"] * 3
    assert table["touches_border"].tolist() == [False, False, True]
    assert table["probability_malignant"][0] == pytest.approx(0.73)
    assert table["attribute_spiculation"][0] == pytest.approx(3.4)
    assert table["attribute_spiculation"].isna().tolist() == [False, True, True]


def test_unknown_is_empty_and_zero_is_zero(case: Case, tmp_path: Path) -> None:
    lesions = case.lesion_sets[0]
    point = Lesion(
        1, 1.6, 7.0, (0.0, 0.0, -190.0), ((4, 5), (62, 63), (75, 76)), mean_intensity=0.0
    )
    write_lesions_csv(tmp_path / "one.csv", case.attach_lesions(replace(lesions, lesions=(point,))))
    header, row = (line.split(",") for line in (tmp_path / "one.csv").read_text().splitlines())
    cell = dict(zip(header, row, strict=True))
    assert cell["mean_intensity"] == "0.0"
    for unknown in ("long_axis_mm", "short_axis_mm", "confidence", "finding", "sd_intensity"):
        assert cell[unknown] == ""
    assert not any(name.startswith(("probability_", "attribute_")) for name in header)


def test_a_case_without_lesions_gives_the_header_alone(volume: Volume, tmp_path: Path) -> None:
    write_lesions_csv(tmp_path / "none.csv", Case.of(volume))
    lines = (tmp_path / "none.csv").read_text().splitlines()
    assert len(lines) == 1
    assert "volume_mm3" in lines[0]


def test_slice_number_counts_along_the_slices_as_stored(volume: Volume) -> None:
    point = tuple(volume.geometry.index_to_world((10, 50, 110)))
    assert stored_slice(volume, point) == (24 - 10, 24)  # stored from superior to inferior
    sagittal = AxisOrder((1, 2, 0), (False, False, True))  # canonical x is stored axis 0, reversed
    stored = replace(volume, source=Source("a", "NIfTI", sagittal))
    assert stored_slice(stored, point) == (150 - 110, 150)
    assert stored_slice(replace(volume, source=None), point) == (11, 24)


def test_slice_number_stays_inside_the_series(volume: Volume) -> None:
    number, count = stored_slice(volume, (0.0, 0.0, 1e4))
    assert (number, count) == (1, 24)


def test_json_holds_what_a_reader_needs_to_place_the_lesion(case: Case, tmp_path: Path) -> None:
    write_lesions_json(tmp_path / "lesions.json", case)
    content = json.loads((tmp_path / "lesions.json").read_text(encoding="utf-8"))
    (found,) = content["lesion_sets"]
    affine = np.array(found["index_zyx_to_world_xyz"])
    assert affine @ [10, 50, 110, 1] == pytest.approx([*found["lesions"][0]["centroid_mm"], 1])
    assert found["lesions"][0]["long_axis_ends_mm"][1][0] == pytest.approx(28 + 7)
    assert found["lesions"][2]["probabilities"] is None
    assert found["lesions"][0]["attributes"] == {"spiculation": 3.4, "calcification": 5.9}
    assert found["lesions"][2]["attributes"] is None
    assert [run["task"] for run in found["runs"]] == ["segment", "measure", "classify"]


def test_variants_tsv_has_every_allele_in_order(case: Case, tmp_path: Path) -> None:
    write_variants_tsv(tmp_path / "variants.tsv", case.variants)
    table = pd.read_csv(tmp_path / "variants.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert table["sample_id"].unique().tolist() == ["P-01"]
    assert len(table) == len(case.variants.scored)
    assert table["score"].tolist()[0] == ""
    assert table["score"].tolist()[1] == "0.2"


def test_no_variants_gives_an_empty_table(tmp_path: Path) -> None:
    write_variants_tsv(tmp_path / "variants.tsv", None)
    assert pd.read_csv(tmp_path / "variants.tsv", sep="\t").empty


def test_run_record_names_models_weights_and_the_ledger(case: Case, tmp_path: Path) -> None:
    write_run_json(tmp_path / "run.json", case)
    content = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert content == run_json(case)
    assert content["lesion_sets"][0]["runs"][0]["weights_sha256"] == "ab" * 32
    assert content["variants"]["run"]["weights_sha256"] == "ef" * 32
    ledger = content["variants"]["ledger"]
    assert ledger["alleles"] == ledger["scored"] + ledger["by_rule"] + sum(
        ledger["not_scored"].values()
    )
    assert content["sample_link"]["reason"] == "same id"


def test_not_a_number_becomes_null(case: Case, tmp_path: Path) -> None:
    odd = replace(case, notes={"snr": float("nan"), "peak": np.float32(2.0)})
    write_run_json(tmp_path / "run.json", odd)
    assert json.loads((tmp_path / "run.json").read_text())["notes"] == {"snr": None, "peak": 2.0}


def test_a_folder_in_the_way_is_refused(case: Case, tmp_path: Path) -> None:
    (tmp_path / "lesions.csv").mkdir()
    with pytest.raises(OutputError, match=r"lesions\.csv"):
        write_lesions_csv(tmp_path / "lesions.csv", case)
    assert [p.name for p in tmp_path.iterdir()] == ["lesions.csv"]


def test_a_second_set_keeps_its_own_columns(case: Case, lesions) -> None:
    assert lesion_frame(lesions)["intensity_unit"].isna().all()
    assert lesion_frame(lesions)["slice"].isna().all()
    assert str(lesion_frame(lesions)["slice"].dtype) == "Int64"
