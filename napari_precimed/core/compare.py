"""Two lesion sets of one patient, at two dates -> which lesion is which, and how each changed.

Lesions that overlap once both scans lie in one frame are the same; what is left over is matched by
distance. Source of the growth figures: Revel et al., "Software volumetric evaluation of doubling
times for differentiating benign versus malignant pulmonary nodules", AJR 187 (2006).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.optimize import linear_sum_assignment

from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.errors import InputError

Kind = Literal["matched", "new", "gone", "merged", "split", "regrouped"]
Link = tuple[int, int]
"""Label before, label after."""

_LEAST_SHARE = 0.1  # of the smaller lesion's voxels that must fall on the other
_FARTHEST_MM = 15.0
_FAR = 1e6


@dataclass(frozen=True)
class Change:
    """What became of a lesion, or of several that belong together.

    Attributes
    ----------
    kind : str
        "matched" one and one; "new" or "gone"; "merged" several into one; "split" one into
        several; "regrouped" several into several.
    before, after : tuple of Lesion
    days : float or None
        Between the two scans.
    """

    kind: Kind
    before: tuple[Lesion, ...]
    after: tuple[Lesion, ...]
    days: float | None = None

    @property
    def volumes_mm3(self) -> tuple[float, float] | None:
        """Total volume before and after, mm³; None for a lesion that is new or gone."""
        if not self.before or not self.after:
            return None
        return sum(s.volume_mm3 for s in self.before), sum(s.volume_mm3 for s in self.after)

    @property
    def volume_change(self) -> float | None:
        """(after - before) / before; None where one is missing."""
        return _relative(self.volumes_mm3)

    @property
    def long_axes_mm(self) -> tuple[float, float] | None:
        """Longest diameter before and after, mm; None unless one lesion became one."""
        if self.kind != "matched":
            return None
        a, b = self.before[0].long_axis_mm, self.after[0].long_axis_mm
        return None if a is None or b is None else (a, b)

    @property
    def long_axis_change(self) -> float | None:
        """(after - before) / before of the long axis."""
        return _relative(self.long_axes_mm)

    @property
    def growth_mm_per_year(self) -> float | None:
        """Of the long axis."""
        if self.long_axes_mm is None or not self.days:
            return None
        before, after = self.long_axes_mm
        return (after - before) / self.days * 365.25

    @property
    def doubling_days(self) -> float | None:
        """Volume doubling time, days; negative where it shrinks, None where it stays the same.

        Days between the scans times ln 2 over the logarithm of the ratio of the volumes.
        """
        if self.volumes_mm3 is None or not self.days:
            return None
        before, after = self.volumes_mm3
        growth = float(np.log(after / before))
        return None if abs(growth) < 1e-9 else self.days * float(np.log(2)) / growth

    @property
    def measurable(self) -> bool:
        """Whether all of it lay inside both scans."""
        return not any(s.touches_border for s in (*self.before, *self.after))


@dataclass(frozen=True)
class Comparison:
    """All changes between two dates, in the order of the later lesions, then those that are gone.

    Attributes
    ----------
    changes : tuple of Change
    days : float or None
    """

    changes: tuple[Change, ...]
    days: float | None

    def of_kind(self, kind: Kind) -> list[Change]:
        """The changes of one kind."""
        return [change for change in self.changes if change.kind == kind]

    @property
    def links(self) -> set[Link]:
        """Every pair of labels, before and after, that was taken for the same."""
        return {(a.label, b.label) for c in self.changes for a in c.before for b in c.after}


def compare(
    before: LesionSet,
    after: LesionSet,
    *,
    days: float | None = None,
    to_after: NDArray | None = None,
    links: Iterable[Link] | None = None,
) -> Comparison:
    """Match the lesions of two dates.

    Parameters
    ----------
    before, after : LesionSet
        Of one patient.
    days : float, optional
        From the earlier scan to the later; without it there is no growth rate.
    to_after : ndarray, shape (4, 4), optional
        World of the earlier scan -> world of the later, LPS millimetres, from a registration. By
        default both lie in one frame.
    links : iterable of pairs of labels, optional
        What a person says belongs together; nothing else is then matched.

    Raises
    ------
    InputError
        If `days` is not positive, `to_after` is no 4 x 4 matrix, or a link names a label that does
        not exist.
    """
    if days is not None and not days > 0:
        raise InputError(f"The later scan is {days:g} days after the earlier one; swap the two.")
    moved = np.eye(4) if to_after is None else np.asarray(to_after, float)
    if moved.shape != (4, 4) or not np.isfinite(moved).all():
        raise InputError(f"A registration is a 4 x 4 matrix of numbers, not {moved.shape}.")
    if links is None:
        pairs = overlapping(before, after, moved)
        pairs |= _nearest(before, after, moved, pairs)
    else:
        pairs = set(links)
        _check_links(pairs, before, after)
    return Comparison(tuple(_changes(before, after, pairs, days)), days)


def overlapping(before: LesionSet, after: LesionSet, to_after: NDArray) -> set[Link]:
    """Pairs of labels that share a tenth of the smaller lesion's voxels, or more.

    The parameters are those of `compare`.
    """
    into = np.linalg.inv(after.geometry.affine) @ to_after @ before.geometry.affine
    pairs = set()
    for lesion in before:
        box = tuple(slice(a, b) for a, b in lesion.bbox)
        voxels = np.argwhere(before.labels[box] == lesion.label) + [s.start for s in box]
        there = ndimage.map_coordinates(
            after.labels, into[:3, :3] @ voxels.T + into[:3, 3:], order=0, mode="constant"
        )
        for label in np.unique(there[there > 0]):
            other = after.lesion(int(label))
            shared_mm3 = np.count_nonzero(there == label) * before.geometry.voxel_volume_mm3
            if shared_mm3 >= _LEAST_SHARE * min(lesion.volume_mm3, other.volume_mm3):
                pairs.add((lesion.label, other.label))
    return pairs


def _nearest(before: LesionSet, after: LesionSet, to_after: NDArray, taken: set[Link]) -> set[Link]:
    """Pairs among what is left: the closest centres within reach, each lesion once."""
    olds = [s for s in before if s.label not in {a for a, _ in taken}]
    news = [s for s in after if s.label not in {b for _, b in taken}]
    if not olds or not news:
        return set()
    centres = np.array([(*s.centroid_mm, 1.0) for s in olds]) @ to_after[:3].T
    gaps = np.linalg.norm(centres[:, None] - np.array([s.centroid_mm for s in news]), axis=2)
    radii = np.array([s.equivalent_diameter_mm / 2 for s in olds])[:, None] + [
        s.equivalent_diameter_mm / 2 for s in news
    ]
    reachable = gaps <= np.minimum(radii + 3.0, _FARTHEST_MM)
    rows, columns = linear_sum_assignment(np.where(reachable, gaps, _FAR))
    return {
        (olds[r].label, news[c].label)
        for r, c in zip(rows, columns, strict=True)
        if reachable[r, c]
    }


def _changes(
    before: LesionSet, after: LesionSet, pairs: set[Link], days: float | None
) -> list[Change]:
    """Connected groups of linked lesions, each one change."""
    olds, news = list(before), list(after)
    place = {("before", s.label): k for k, s in enumerate(olds)}
    place |= {("after", s.label): len(olds) + k for k, s in enumerate(news)}
    n = len(place)
    rows = [place["before", a] for a, _ in pairs]
    columns = [place["after", b] for _, b in pairs]
    graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    count, group = sparse.csgraph.connected_components(graph, directed=False)
    changes = []
    for number in range(count):
        here = np.flatnonzero(group == number)
        a = tuple(olds[k] for k in here if k < len(olds))
        b = tuple(news[k - len(olds)] for k in here if k >= len(olds))
        changes.append(Change(_kind(len(a), len(b)), a, b, days))
    last = len(news)
    order = {s.label: k for k, s in enumerate(news)}
    return sorted(changes, key=lambda c: order[c.after[0].label] if c.after else last)


def _kind(before: int, after: int) -> Kind:
    if not before:
        return "new"
    if not after:
        return "gone"
    if before == 1:
        return "matched" if after == 1 else "split"
    return "merged" if after == 1 else "regrouped"


def _check_links(links: set[Link], before: LesionSet, after: LesionSet) -> None:
    for side, lesions, index in (("earlier", before, 0), ("later", after, 1)):
        known = {lesion.label for lesion in lesions}
        for unknown in sorted({link[index] for link in links} - known):
            raise InputError(
                f"The {side} scan has no lesion {unknown}; it has {_listed(sorted(known))}."
            )


def _listed(labels: Sequence[int]) -> str:
    return ", ".join(map(str, labels)) or "none"


def _relative(values: tuple[float, float] | None) -> float | None:
    if values is None or not values[0]:
        return None
    return (values[1] - values[0]) / values[0]
