"""Bundles: what is listed, what loads, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from napari_precimed.errors import BundleError, ModelNotFoundError
from napari_precimed.models import catalogue
from napari_precimed.models.bundle import build_network, load_network

UNET = {
    "_target_": "monai.networks.nets.UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "channels": [2, 4],
    "strides": [2],
}


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small bundle from outside, complete and harmless."""
    folder = tmp_path / "models" / "tiny"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "1.2.3"}))
    write_config(folder, {"network_def": UNET})
    torch.save(build_network(folder, trusted=False).state_dict(), folder / "models" / "model.pt")
    monkeypatch.setenv("PRECIMED_MODELS", str(folder.parent))
    return folder


def write_config(folder: Path, config: dict) -> None:
    (folder / "configs" / "inference.json").write_text(json.dumps(config))


def test_the_built_in_models_are_listed_with_what_a_user_needs():
    entries = {entry.name: entry for entry in catalogue.models() if entry.built_in}
    assert {"lung-nodule", "lung-nodule-malignancy"} <= set(entries)
    for entry in entries.values():
        assert entry.description
        assert entry.license
        assert entry.card.is_file()
        assert entry.weights.stat().st_size < 6_000_000


def test_every_built_in_network_builds_without_code_but_its_composition():
    for entry in catalogue.models():
        if entry.built_in:
            assert not load_network(entry).training


def test_a_bundle_in_the_users_folder_is_listed_and_loads(foreign: Path):
    entry = catalogue.find("tiny")
    assert (entry.version, entry.built_in) == ("1.2.3", False)
    assert load_network(entry)(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 1, 8, 8, 8)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ModelNotFoundError, match=r"lung-nodul\b.*lung-nodule"):
        catalogue.find("lung-nodul")


@pytest.mark.parametrize(
    ("network", "named"),
    [
        ({"_target_": "os.system", "command": "echo"}, "os.system"),
        (
            {"_target_": "monai.networks.nets.UNet", "channels": "$__import__('os').getcwd()"},
            "getcwd",
        ),
        ("$print('hello')", "print"),
        ({**UNET, "act": {"_target_": "subprocess.Popen", "args": ["true"]}}, "subprocess.Popen"),
        ("@hidden", "eval"),
        ({"_target_": "monai.apps.utils.download_url", "url": "x"}, "download_url"),
        ({"_target_": "download_url", "url": "x"}, "download_url"),
        ({"_target_": "nowhere"}, "nowhere"),
        ("$torch.nn.Sequential(@hidden)", "eval"),
        ("$torch.nn.Sequential(__import__('os'))", "__import__"),
        ("$torch.nn.Sequential(@part).apply(print)", "apply"),
        ("$torch.hub.load(@part)", "hub"),
        ("$torch.nn.Module.__subclasses__()[0](@part)", "subclasses"),
    ],
)
def test_a_bundle_from_outside_that_wants_code_is_refused_by_name(foreign, network, named):
    write_config(foreign, {"network_def": network, "hidden": "$eval('1')"})
    with pytest.raises(BundleError, match=named):
        load_network(catalogue.find("tiny"))


def test_a_bundle_from_outside_may_put_allowed_parts_together(foreign: Path):
    part = {"_target_": "torch.nn.Identity"}
    write_config(foreign, {"network_def": "$torch.nn.Sequential(@part, @unet)", "part": part,
                           "unet": UNET})  # fmt: skip
    network = build_network(foreign, trusted=False)
    assert network(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 1, 8, 8, 8)


def test_imports_of_a_bundle_from_outside_are_not_run(foreign: Path, tmp_path: Path):
    harm = f"$__import__('pathlib').Path({str(tmp_path / 'harm')!r}).touch()"
    write_config(foreign, {"network_def": UNET, "imports": [harm], "initialize": [harm]})
    build_network(foreign, trusted=False)
    assert not (tmp_path / "harm").exists()


def test_a_trusted_bundle_may_use_expressions(foreign: Path):
    write_config(foreign, {"network_def": {**UNET, "channels": "$[2, 2 + 2]"}})
    assert load_network(catalogue.find("tiny"), trust=True)


def test_weights_that_would_run_code_are_refused(foreign: Path):
    class Harmful:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"weight": Harmful()}, foreign / "models" / "model.pt")
    with pytest.raises(BundleError, match="damaged, or holds more than weights"):
        load_network(catalogue.find("tiny"))


def test_truncated_weights_are_refused_with_their_hash(foreign: Path):
    file = foreign / "models" / "model.pt"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(BundleError, match=r"model\.pt \(SHA-256 [0-9a-f]{12}…\) is damaged"):
        load_network(catalogue.find("tiny"))


def test_weights_of_another_network_are_refused(foreign: Path):
    write_config(foreign, {"network_def": {**UNET, "channels": [4, 8]}})
    with pytest.raises(BundleError, match="does not fit the network of 'tiny'"):
        load_network(catalogue.find("tiny"))


def test_missing_weights_are_named(foreign: Path):
    (foreign / "models" / "model.pt").unlink()
    with pytest.raises(BundleError, match=r"weights of 'tiny' are missing.*model\.pt"):
        load_network(catalogue.find("tiny"))


def test_broken_metadata_is_left_out_of_the_list_but_named_when_asked_for(foreign: Path):
    (foreign / "configs" / "metadata.json").write_text("{")
    assert "tiny" not in {entry.name for entry in catalogue.models()}
    with pytest.raises(BundleError, match="not JSON"):
        catalogue.find("tiny")
    shutil.rmtree(foreign)
    with pytest.raises(ModelNotFoundError):
        catalogue.find("tiny")
