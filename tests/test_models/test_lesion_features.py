"""A lesion in numbers: a disc, a star, left and right, bright and dark."""

from __future__ import annotations

import numpy as np
import pytest

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Volume
from napari_precimed.models.lesion_features import FEATURES, lesion_features


def head_with(lesion: np.ndarray, level: float = 0.9) -> np.ndarray:
    """A head of grey 0.4, 160 x 180 pixels in ten slices, and a lesion of another grey."""
    flair = np.zeros((10, 256, 256), np.float32)
    flair[1:9, 38:218, 48:208] = 0.4
    flair[lesion] = level
    return flair


def disc(z: int = 5, y: int = 128, x: int = 90, radius: float = 20) -> np.ndarray:
    grid = np.mgrid[:10, :256, :256]
    return (abs(grid[0] - z) <= 1) & (np.hypot(grid[1] - y, grid[2] - x) <= radius)


def features(lesion: np.ndarray, level: float = 0.9) -> dict[str, float]:
    return dict(zip(FEATURES, lesion_features(head_with(lesion, level), lesion), strict=True))


def test_a_disc_is_round_and_where_it_was_put():
    found = features(disc())
    assert found["log volume share"] == pytest.approx(
        np.log(disc().sum() / (8 * 180 * 160)), abs=0.01
    )
    assert found["slice share"] == pytest.approx(3 / 8)
    assert found["log pieces"] == 0
    assert found["eccentricity"] < 0.15
    assert found["compactness"] > 0.85
    assert found["angular deviation"] < 0.05
    assert found["contrast"] == pytest.approx(0.5, abs=0.01)
    assert found["spread"] == pytest.approx(0, abs=1e-5)
    assert found["to the left"] == pytest.approx((90 - 127.5) / 159, abs=0.01)


def test_mirroring_changes_the_side_and_nothing_else():
    left, right = features(disc(x=100)), features(disc()[:, :, ::-1] & disc(x=165))
    here, there = features(disc(x=100)), features(disc(x=155))
    assert left == here
    assert right["to the left"] > 0 > left["to the left"]
    for name in FEATURES:
        if name != "to the left":
            assert there[name] == pytest.approx(here[name], abs=0.03), name


def test_a_star_is_less_solid_and_less_even_than_a_disc():
    star = disc(radius=8) | (disc(radius=30) & ~disc(radius=8) & _rays())
    assert features(star)["solidity"] < features(disc())["solidity"] - 0.1
    assert features(star)["angular deviation"] > features(disc())["angular deviation"] + 0.1


def _rays() -> np.ndarray:
    y, x = np.mgrid[:256, :256]
    return np.broadcast_to(np.cos(6 * np.arctan2(y - 128, x - 90)) > 0.3, (10, 256, 256))


def test_two_pieces_and_a_dark_core_are_seen():
    two = disc() | disc(x=170, radius=10)
    assert features(two)["log pieces"] == pytest.approx(np.log(2))
    assert features(disc(), level=0.1)["contrast"] < 0


def test_a_scan_without_spacing_gives_finite_numbers_for_the_smallest_lesion():
    speck = np.zeros((10, 256, 256), bool)
    speck[5, 128, 128] = True
    assert np.isfinite(lesion_features(head_with(speck), speck)).all()


def test_the_shipped_bundle_answers_only_what_it_can_stand_behind():
    from napari_precimed.core.measure import measure
    from napari_precimed.models.catalogue import find
    from napari_precimed.models.classify import classify

    geometry = Geometry.from_parts((10, 256, 256), (5.0, 0.94, 0.94), (0.0, 0.0, 0.0))
    volume = Volume(head_with(disc()), geometry, modality="MR")
    lesions = classify(volume, measure(disc().astype(np.uint8), volume), "glioma-grade")
    entry = find("glioma-grade")
    kept = set(entry.settings["abstains"])
    told = set(lesions.lesions[0].probabilities or {})
    assert told == set(entry.labels.values()) - kept
    assert lesions.lesions[0].probabilities is None or told
    warnings = "\n".join(lesions.runs[-1].warnings)
    assert all(f"No answer for '{name}'" in warnings for name in kept)
