"""Bundles from elsewhere on the command line: channels, trust, whole scans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toy_bundles import metadata, organ_config, unet, write_bundle

from napari_precimed.cli import app
from napari_precimed.cli.bundles import read_channels
from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Volume
from napari_precimed.errors import InputError, UntrustedBundleError
from napari_precimed.io.itk import write_volume
from napari_precimed.models import trust

SCANS = {0: "T1", 1: "FLAIR"}


@pytest.fixture(autouse=True)
def _nothing_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *_, **__: str(tmp_path / "config"))
    monkeypatch.setattr(trust, "_this_run", set())


def scan(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    geometry = Geometry.from_parts((6, 14, 12), (3.0, 1.2, 1.2))
    write_volume(path, Volume(rng.normal(0, 100, (6, 14, 12)).astype(np.float32), geometry))
    return path


def precimed(*words: object) -> None:
    app([str(word) for word in words], standalone_mode=False)


def test_two_scans_go_to_their_channels(tmp_path: Path, capsys) -> None:
    names = {0: "background", 1: "tumour"}
    config = organ_config(network_def=unet(inputs=2))
    bundle = write_bundle(tmp_path / "toy", config, metadata(names, SCANS, "MR"))
    first, second = scan(tmp_path / "a.nii.gz", 1), scan(tmp_path / "b.nii.gz", 2)
    out = tmp_path / "out.nii.gz"
    common = ("segment", first, "--model", bundle, "-o", out, "--device", "cpu")
    precimed(*common, "--channel", f"flair={second}", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["runs"][0]["options"]["channels"] == {"T1": str(first), "FLAIR": str(second)}
    assert {lesion["finding"] for lesion in told["lesions"]} == {"tumour"}
    assert out.is_file()
    with pytest.raises(InputError, match="takes 2 scans: T1, FLAIR"):
        precimed(*common)


@pytest.mark.parametrize("text", ["T1", "=x.nii", "T1="])
def test_a_channel_is_a_name_and_a_path(text: str) -> None:
    with pytest.raises(InputError, match="NAME=PATH"):
        read_channels([text])


def test_trust_is_asked_for_and_lasts_for_the_run(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "toy", organ_config(), metadata())
    config = organ_config(network_def={**unet(), "channels": "$[c for c in (4, 8)]"})
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    out = tmp_path / "out.nii.gz"
    words = ("segment", scan(tmp_path / "a.nii.gz", 1), "--model", bundle, "-o", out)
    with pytest.raises(UntrustedBundleError, match=r"\[c for c in \(4, 8\)\].*--trust"):
        precimed(*words)
    assert not out.exists()
    precimed(*words, "--trust")
    assert out.is_file()
