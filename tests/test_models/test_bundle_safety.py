"""What a bundle from elsewhere may do without trust, what it may not, and how trust is given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import monai.transforms
import numpy as np
import pytest
import torch
from toy_bundles import compose, inverted, metadata, organ_config, unet, write_bundle

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Volume
from napari_precimed.errors import BundleError, UntrustedBundleError
from napari_precimed.models import permitted, trust
from napari_precimed.models.bundle import load_network, trust_from_now_on, untrusted_wishes
from napari_precimed.models.catalogue import find
from napari_precimed.models.expressions import Expression, WantsCodeError
from napari_precimed.models.segment import segment

CT = Volume(
    np.zeros((6, 12, 12), np.float32), Geometry.from_parts((6, 12, 12), (3.0, 1.0, 1.0)), "CT"
)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A harmless bundle, and nothing that is trusted yet."""
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *_, **__: str(tmp_path / "config"))
    monkeypatch.setattr(trust, "_this_run", set())
    return write_bundle(tmp_path / "organ", organ_config(), metadata())


def rewrite(bundle: Path, **parts) -> Path:
    config = {**organ_config(), **parts}
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    return bundle


def lambdad(func) -> dict:
    return compose({"_target_": "Lambdad", "keys": "pred", "func": func})


def target(name, /, **given) -> dict:
    return {"_target_": name, **given}


def test_what_the_zoo_writes_everywhere_needs_no_trust(bundle: Path) -> None:
    assert untrusted_wishes(str(bundle)) == ()


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"inferer": target("scripts.inferer.Mine")}, "scripts.inferer.Mine"),
        ({"inferer": target("PatchInferer", merger_cls="os.system")}, "PatchInferer"),
        ({"inferer": target("napari_precimed.models.lungs.Anything")}, "napari_precimed.models"),
        ({"inferer": "$__import__('os').system('true')"}, "__import__"),
        ({"preprocessing": target("monai.data.PersistentDataset")}, "PersistentDataset"),
        ({"preprocessing": target("monai.bundle.ConfigParser")}, "ConfigParser"),
        ({"preprocessing": target("monai.apps.download_and_extract", url="x")}, "download_and"),
        ({"preprocessing": target("monai.transforms.TorchVisiond", name="x")}, "TorchVisiond"),
        ({"preprocessing": target("monai.transforms.utils.Path")}, "Path"),
        ({"postprocessing": lambdad("$print")}, "print"),
        ({"postprocessing": lambdad("$os.system")}, "os.system"),
        ({"postprocessing": lambdad("$lambda x: open('/etc/passwd')")}, "open"),
        ({"postprocessing": lambdad("$lambda x: x.__class__")}, "__class__"),
        ({"postprocessing": lambdad("$lambda x: torch.load('x')")}, "torch.load"),
        ({"postprocessing": lambdad("$lambda x: x.numpy().tofile('x')")}, "tofile"),
        ({"postprocessing": lambdad("$lambda x: x(1)")}, "x\\(1\\)"),
        ({"postprocessing": lambdad({"_target_": "builtins.exec", "_mode_": "callable"})}, "exec"),
        ({"postprocessing": target("Compose", _mode_="debug")}, "debug"),
        ({"postprocessing": {**compose(), "_requires_": "@evil"}, "evil": "$exec('1')"}, "exec"),
        ({"network_def": {**unet(), "act": "%evil"}, "evil": "$exec('1')"}, "exec"),
        ({"network_def": {**unet(), "act": "@#evil", "evil": "$exec('1')"}}, "exec"),
        ({"network_def": {**unet(), "act": "%/tmp/other.json::x"}}, "/tmp/other.json"),
        ({"network_def": target("EfficientNetBN", model_name="efficientnet-b0")}, "pretrained"),
        ({"network_def": target("ResNetFeatures", model_name="resnet18")}, "pretrained=True"),
        ({"network_def": target("FlexibleUNet", pretrained=True)}, "pretrained=True"),
        ({"network_def": target("HoVerNet", pretrained_url="http://x")}, "pretrained_url"),
        ({"network_def": target("TorchVisionFCModel", weights="DEFAULT")}, "weights='DEFAULT'"),
        ({"network_def": target("monai.networks.nets.CellSamWrapper")}, "CellSamWrapper"),
        ({"network_def": target("torch.nn.parallel.DataParallel")}, "DataParallel"),
        ({"network_def": "$@a.apply(print)", "a": unet()}, "apply"),
        ({"network_def": "$@a.to(@b)", "a": unet(), "b": "$torch.hub.load('x', 'y')"}, "hub"),
        ({"network_def": target(["os", "system"])}, "system"),
    ],
)  # fmt: skip
def test_a_wish_for_code_is_refused_in_its_own_words(bundle: Path, parts, named) -> None:
    rewrite(bundle, **parts)
    with pytest.raises(UntrustedBundleError, match=named) as refused:
        segment(CT, str(bundle), device="cpu")
    assert "--trust" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert untrusted_wishes(str(bundle)) == refused.value.wishes


def test_all_wishes_are_named_at_once(bundle: Path) -> None:
    rewrite(bundle, inferer=target("a.B"), postprocessing=lambdad("$exec"))
    assert untrusted_wishes(str(bundle)) == ("'a.B'", "'exec'")


def test_what_is_not_run_may_say_what_it_likes(bundle: Path, tmp_path: Path) -> None:
    harm = f"$__import__('pathlib').Path({str(tmp_path / 'harm')!r}).touch()"
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "__init__.py").write_text("raise SystemError('imported')")
    rewrite(bundle, imports=["$import scripts", harm], initialize=[harm], run=[harm], device=harm,
            dataset=target("scripts.Data"))  # fmt: skip
    assert segment(CT, str(bundle), device="cpu").labels.shape == CT.geometry.shape
    assert not (tmp_path / "harm").exists()
    assert "scripts" not in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        "$[1.5, 1.5] if @a else (3, 3)",
        "$'models/' + @a",
        "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "$@a.to(@b)",
        "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, 0))",
        "$-@a * 2 + len(@b)",
        "$numpy.float32",
        "$torch.nn.Sequential(@a, @b)",
    ],
)
def test_harmless_expressions(text: str) -> None:
    Expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "$__builtins__",
        "$().__class__.__bases__[0].__subclasses__()",
        "$@a.__init__",
        "$@a.to.__self__",
        "$torch.nn.Module.apply(@a, print)",
        "$torch.nn.Sequential.__init__(@a)",
        "$torch.os.system('true')",
        "$f'{@a.__class__}'",
        "$'{0.__class__}'.format(@a)",
        "$(lambda int: int(1))(@a)",
        "$sorted([1], key=lambda _to: @a.to(1))",
        "$[x for x in (1,)]",
        "$reference_9_",
        "$_known_torch_dot_where",
        "$getattr(@a, 'x')",
        "$eval('1')",
        "$max(*@a)",
        "$dict(**@a)",
        "$(y := 1)",
        "$2 ** 999999999",
        "$import os",
        "$torch.where.__globals__",
        "$monai.networks.nets.ResNetFeatures('resnet18')",
    ],
)
def test_expressions_that_are_not_provably_harmless(text: str) -> None:
    with pytest.raises(WantsCodeError):
        Expression(text)


def test_a_harmless_lambda_gives_what_python_gives() -> None:
    text = "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, 0))"
    x = (torch.rand(3, 4, 4) > 0.5).float()
    ours = Expression(text).value(lambda _: None)(x)
    assert torch.equal(ours, torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, 0)))


def test_every_permitted_transform_is_one_of_monais() -> None:
    for name in permitted._TRANSFORMS:
        assert hasattr(monai.transforms, name) or hasattr(monai.transforms, f"{name}d"), name


def test_trust_is_given_to_a_content_once_and_ends_when_it_changes(bundle: Path) -> None:
    rewrite(bundle, network_def={**unet(), "channels": "$[2 + x for x in (2, 6)]"})
    assert untrusted_wishes(str(bundle))
    trust_from_now_on(str(bundle))
    assert untrusted_wishes(str(bundle)) == ()
    assert segment(CT, str(bundle), device="cpu").labels.shape == CT.geometry.shape
    config = bundle / "configs" / "inference.json"
    config.write_text(config.read_text() + " ")
    assert untrusted_wishes(str(bundle))


def test_a_trusted_bundle_may_run_its_own_scripts(bundle: Path) -> None:
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "__init__.py").touch()
    (bundle / "scripts" / "after.py").write_text(
        "class Ones:\n"
        "    def __call__(self, data):\n"
        "        data['pred'][:] = 1\n"
        "        return data\n"
    )
    steps = [target("Activationsd", keys="pred", softmax=True), inverted(),
             target("AsDiscreted", keys="pred", argmax=True),
             target("scripts.after.Ones")]  # fmt: skip
    rewrite(bundle, postprocessing=compose(*steps))
    with pytest.raises(UntrustedBundleError, match=r"scripts\.after\.Ones"):
        segment(CT, str(bundle), device="cpu")
    assert (segment(CT, str(bundle), device="cpu", trust=True).labels == 1).all()
    assert untrusted_wishes(str(bundle))


def test_weights_in_a_training_checkpoint_are_taken_out_of_it(bundle: Path) -> None:
    file = bundle / "models" / "model.pt"
    before = load_network(find(str(bundle))).state_dict()
    parallel = {f"module.{name}": value for name, value in before.items()}
    torch.save({"epoch": 3, "state_dict": parallel}, file)
    after = load_network(find(str(bundle))).state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_torchscript_is_refused_with_the_mend(bundle: Path) -> None:
    file = bundle / "models" / "model.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Identity(), torch.zeros(1)), file)
    with pytest.raises(BundleError, match=r"SHA-256 [0-9a-f]{12}….*TorchScript.*state_dict"):
        load_network(find(str(bundle)))
    file.rename(file.with_suffix(".ts"))
    with pytest.raises(BundleError, match=r"weights of 'organ' are missing.*model\.ts is Torch"):
        load_network(find(str(bundle)))


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"network_def": {**unet(), "channels": "@nowhere"}}, "'@nowhere'"),
        ({"network_def": {**unet(), "act": "@a"}, "a": "@b", "b": "@a"}, "circle"),
        ({"network_def": {**unet(), "norm": "nonsense"}}, "network of 'organ' cannot be built"),
        ({"preprocessing": compose(target("Spacingd", keys="image", pixdim="x"))}, "preproc"),
    ],
)
def test_a_configuration_that_cannot_be_built_says_why(bundle: Path, parts, why) -> None:
    rewrite(bundle, **parts)
    with pytest.raises(BundleError, match=why) as refused:
        segment(CT, str(bundle), device="cpu")
    assert "\n" not in str(refused.value)
