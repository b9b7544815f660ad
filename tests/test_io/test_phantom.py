from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_precimed import io
from napari_precimed.core.geometry import AxisOrder
from napari_precimed.core.measure import measure
from napari_precimed.errors import ReadError
from napari_precimed.io.phantom import phantom_ct, phantom_mr, phantom_truth


@pytest.fixture(scope="module")
def ct():
    return phantom_ct()


def test_it_is_a_chest_ct(ct):
    assert ct.array.dtype == np.int16
    assert ct.geometry.spacing_mm == pytest.approx((2, 0.8, 0.8))
    assert ct.geometry.canonical_order() == AxisOrder()
    assert ct.patient_id == "PHANTOM-01"
    assert ct.modality == "CT"
    assert "Synthetic" in ct.source.notes[0]
    air = np.median(ct.array[:, :20, :20])
    assert air == pytest.approx(-1000, abs=5)


def test_it_is_the_same_every_time_and_by_its_path(ct):
    again = io.read_volume("phantom:ct")
    assert np.array_equal(ct.array, again.array)
    assert again.source.path == "phantom:ct"
    assert again.series_uid == ct.series_uid


def test_an_unknown_phantom_names_the_known_ones():
    with pytest.raises(ReadError, match="'pet'; there are ct, mr"):
        io.read_volume("phantom:pet")


def segmented(volume, lesion, threshold):
    """The lesion as a threshold finds it, in a box around it."""
    middle = np.rint(volume.geometry.world_to_index(lesion.centre_mm)).astype(int)
    reach = np.ceil(np.array(lesion.radii_mm[::-1]) / volume.geometry.spacing_mm).astype(int) + 2
    box = tuple(slice(m - r, m + r + 1) for m, r in zip(middle, reach, strict=True))
    labels = np.zeros(volume.array.shape, np.uint8)
    pieces, _ = ndimage.label(volume.array[box] > threshold)
    labels[box] = pieces == pieces[tuple(reach)]
    return measure(labels, volume).lesions[0]


@pytest.mark.parametrize("lesion", phantom_truth("ct"), ids=lambda k: str(k.radii_mm))
def test_the_nodules_measure_what_they_should(ct, lesion):
    found = segmented(ct, lesion, -410)
    assert found.volume_mm3 == pytest.approx(lesion.volume_mm3, rel=0.08)
    assert np.allclose(found.centroid_mm, lesion.centre_mm, atol=0.5)
    short, long = sorted(2 * r for r in lesion.radii_mm[:2])
    assert found.long_axis_mm == pytest.approx(long, abs=0.8)
    assert found.short_axis_mm == pytest.approx(short, abs=0.8)
    assert -200 < found.mean_intensity < lesion.value  # soft edges pull the mean down


def test_left_is_left(ct):
    def hu_at(x, y, z):
        k, j, i = np.rint(ct.geometry.world_to_index((x, y, z))).astype(int)
        return ct.array[k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3].mean()

    assert hu_at(30, -28, -45) > 0, "the heart is on the left"
    assert hu_at(-50, -28, -45) < -700
    assert hu_at(55, -10, -112) < -800, "so is the bubble of the stomach"
    assert hu_at(-55, -10, -112) > 20
    assert hu_at(0, 80, 0) > -50, "the back is posterior"


def test_the_head():
    mr = phantom_mr()
    assert mr.modality == "MR"
    assert mr.array.min() >= 0
    for lesion in phantom_truth("mr"):
        found = segmented(mr, lesion, (125 + lesion.value) / 2)
        assert found.volume_mm3 == pytest.approx(lesion.volume_mm3, rel=0.12)
        assert np.allclose(found.centroid_mm, lesion.centre_mm, atol=0.8)
