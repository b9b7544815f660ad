"""Two dates of one patient: balls whose fate is known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_precimed.core.compare import compare
from napari_precimed.core.geometry import Geometry
from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.measure import measure
from napari_precimed.core.recist import choose_targets, respond
from napari_precimed.core.volume import Volume
from napari_precimed.errors import InputError

SHAPE, SPACING = (40, 80, 80), (2.0, 1.0, 1.0)


def scan(*balls, geometry: Geometry | None = None, finding="nodule") -> LesionSet:
    """Balls of (z, y, x) and radius in mm from the grid's corner, numbered as given; (…, …)."""
    geometry = geometry or Geometry.from_parts(SHAPE, SPACING)
    labels = np.zeros(geometry.shape, np.int32)
    place = np.indices(geometry.shape).transpose(1, 2, 3, 0) * geometry.spacing_mm
    for number, (*centre, radius) in enumerate(balls, start=1):
        labels[((place - centre) ** 2).sum(-1) <= radius**2] = number
    return measure(labels, Volume(labels.astype(np.float32), geometry), finding=finding)


def kinds(comparison) -> list[tuple]:
    return [
        (c.kind, tuple(s.label for s in c.before), tuple(s.label for s in c.after))
        for c in comparison.changes
    ]


def test_each_lesion_is_matched_new_or_gone():
    before = scan((20, 20, 20, 6), (40, 60, 60, 5), (60, 20, 60, 5))
    after = scan((40, 61, 60, 8), (20, 21, 20, 6), (60, 60, 20, 5))
    found = compare(before, after, days=100)
    assert kinds(found) == [
        ("matched", (2,), (1,)), ("matched", (1,), (2,)), ("new", (), (3,)), ("gone", (3,), ()),
    ]  # fmt: skip
    assert found.links == {(2, 1), (1, 2)}


def test_lesions_that_flow_together_or_fall_apart_are_one_change():
    two, one = scan((40, 30, 30, 6), (40, 46, 30, 6)), scan((40, 38, 30, 14))
    assert kinds(compare(two, one)) == [("merged", (1, 2), (1,))]
    assert kinds(compare(one, two)) == [("split", (1,), (1, 2))]
    assert compare(two, one).changes[0].long_axes_mm is None
    assert compare(two, one).changes[0].volume_change > 0


def test_a_lesion_that_moved_beside_its_old_place_is_still_found_and_one_far_off_is_not():
    assert kinds(compare(scan((40, 30, 30, 4)), scan((40, 39, 30, 4)))) == [("matched", (1,), (1,))]
    assert {c.kind for c in compare(scan((40, 30, 30, 4)), scan((40, 60, 30, 4))).changes} == {
        "new",
        "gone",
    }


def test_the_later_scan_may_lie_on_another_grid_and_in_another_frame():
    before = scan((40, 30, 30, 6), (60, 60, 60, 5))
    other = Geometry.from_parts((80, 70, 70), (1.0, 1.2, 1.2), origin_mm=(100.0, -50.0, 7.0))
    after = scan((40, 30, 30, 6), (60, 60, 60, 5), geometry=other)
    shift = np.eye(4)
    shift[:3, 3] = (100.0, -50.0, 7.0)
    assert len(compare(before, after).of_kind("matched")) == 0
    found = compare(before, after, to_after=shift)
    assert found.links == {(1, 1), (2, 2)}
    for change in found.changes:
        assert abs(change.volume_change) < 0.08  # voxels of another size


def test_growth_and_doubling_time_are_those_of_a_ball():
    found = compare(scan((40, 40, 40, 8)), scan((40, 40, 40, 8 * 2 ** (1 / 3))), days=90)
    change = found.changes[0]
    assert change.doubling_days == pytest.approx(90, rel=0.06)  # the balls are made of voxels
    before, after = change.long_axes_mm
    assert change.growth_mm_per_year == pytest.approx((after - before) / 90 * 365.25)
    shrunk = compare(scan((40, 40, 40, 10)), scan((40, 40, 40, 8)), days=90).changes[0]
    assert shrunk.doubling_days < 0
    assert compare(scan((40, 40, 40, 8)), scan((40, 40, 40, 9))).changes[0].doubling_days is None


def test_a_person_can_say_what_belongs_together():
    before, after = scan((20, 20, 20, 6), (60, 60, 60, 6)), scan((20, 20, 20, 6), (60, 60, 60, 6))
    assert kinds(compare(before, after, links=[(1, 2)])) == [
        ("new", (), (1,)), ("matched", (1,), (2,)), ("gone", (2,), ()),
    ]  # fmt: skip
    with pytest.raises(InputError, match="earlier scan has no lesion 7; it has 1, 2"):
        compare(before, after, links=[(7, 1)])


def test_days_that_run_backwards_are_refused():
    with pytest.raises(InputError, match="-3 days"):
        compare(scan((20, 20, 20, 6)), scan((20, 20, 20, 6)), days=-3)


@pytest.mark.parametrize(
    ("radius", "category"), [(6.0, "PR"), (8.0, "SD"), (10.0, "SD"), (12.0, "PD")]
)
def test_the_response_follows_the_sum_of_diameters(radius, category):
    """From a diameter near 19 mm: below 13.3 mm partial response, from 22.8 and +5 progression."""
    found = respond(compare(scan((40, 40, 40, 9.5)), scan((40, 40, 40, radius))))
    assert found.category == category
    assert f"{found.sum_before_mm:.1f} mm, then {found.sum_after_mm:.1f} mm" in found.rule


def test_twenty_per_cent_of_little_is_no_progression_without_five_mm():
    found = respond(compare(scan((40, 40, 40, 6)), scan((40, 40, 40, 8))))
    assert (found.sum_after_mm - found.sum_before_mm) / found.sum_before_mm > 0.2
    assert found.category == "SD"


def test_a_new_lesion_is_progression_and_all_gone_is_a_complete_response():
    before = scan((40, 40, 40, 9))
    assert respond(compare(before, scan((40, 40, 40, 9), (40, 10, 10, 4)))).category == "PD"
    assert respond(compare(before, scan())).category == "CR"
    small_stays = respond(compare(scan((40, 40, 40, 9), (20, 10, 10, 4)), scan((20, 10, 10, 4))))
    assert small_stays.category == "PR"


def test_small_lesions_are_no_targets_and_at_most_two_of_a_kind_are():
    balls = [(20, 20, 20, 6), (20, 60, 20, 7), (20, 20, 60, 8), (60, 60, 60, 3)]
    found = compare(scan(*balls), scan(*balls))
    assert [c.before[0].label for c in choose_targets(found.changes)] == [3, 2]
    tiny = respond(compare(scan((60, 60, 60, 3)), scan((60, 60, 60, 3))))
    assert tiny.category == "NE"
    assert tiny.sum_before_mm == 0


def test_a_target_cut_by_the_edge_of_the_scan_cannot_be_evaluated():
    assert respond(compare(scan((40, 40, 40, 9)), scan((40, 40, 76, 9)))).category == "PD"
    cut = compare(scan((40, 40, 70, 9)), scan((40, 40, 73, 9)))
    assert respond(cut).category == "NE"
