"""What a bundle's last transform gives -> one label per voxel, and what each label is.

A single channel holds the labels themselves. Several channels that exclude each other are the
classes. Several that overlap, as BraTS's whole tumour, tumour core and enhancing tumour do, are
nested regions: each voxel carries the smallest of the regions that cover it, so that the label of
a region marks what of it lies in no smaller one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Regions:
    """Labels, and their names.

    Attributes
    ----------
    labels : ndarray of int32, shape of the image
        0 is background.
    names : dict of int to str
        One for each label that there is.
    notes : tuple of str
        What the reader of the labels must know.
    whole_voxels : dict of str to int
        Voxels of each region as a whole, where regions overlap.
    """

    labels: NDArray[np.int32]
    names: dict[int, str]
    notes: tuple[str, ...] = ()
    whole_voxels: dict[str, int] = field(default_factory=dict)


def regions_of(
    result: NDArray, channel_names: Mapping[int, str], names: Mapping[int, str] | None = None
) -> Regions:
    """Labels and their names.

    Parameters
    ----------
    result : ndarray, shape (channel, ...)
        Labels in one channel, or one mask per channel.
    channel_names : mapping of int to str
        What each channel of the network stands for.
    names : mapping of int to str, optional
        What the labels of a single channel are, where that is known.
    """
    if result.shape[0] == 1:
        labels = np.rint(result[0]).astype(np.int32)
        by_value = _names_by_value(labels, channel_names)
        return Regions(labels, {v: (names or by_value).get(v, f"label {v}") for v in by_value})
    masks = result > 0.5
    if _exclude_each_other(masks):
        return _classes(masks, channel_names)
    return _nested(masks, channel_names)


def is_background(name: str | None) -> bool:
    """Whether a channel's name says that it is what is left over."""
    return (name or "").strip().lower() == _BACKGROUND


def _names_by_value(labels: NDArray[np.int32], names: Mapping[int, str]) -> dict[int, str]:
    only = next(iter(names.values())) if len(names) == 1 else None
    return {value: only or names.get(value) or f"label {value}" for value in _values(labels)}


def names_by_mask(
    labels: NDArray[np.int32], masks: NDArray, names: Mapping[int, str]
) -> dict[int, str]:
    """Names of labels that were made from masks, each that of the smallest mask that covers it.

    Parameters
    ----------
    labels : ndarray of int32, shape of the image
    masks : ndarray of bool, shape (channel, ...)
    names : mapping of int to str
        Channel -> name.
    """
    smallest_first = sorted(range(len(masks)), key=lambda k: np.count_nonzero(masks[k]))
    found = {}
    for value in _values(labels):
        here = labels == value
        covering = (k for k in smallest_first if bool(masks[k][here].all()))
        found[value] = names.get(next(covering, -1), f"label {value}")
    return found


def _exclude_each_other(masks: NDArray) -> bool:
    return bool((masks.sum(axis=0) <= 1).all())


def _classes(masks: NDArray, names: Mapping[int, str]) -> Regions:
    """Masks that do not overlap; without a channel for the background, the first is label 1."""
    first = 0 if is_background(names.get(0)) or bool((masks.sum(axis=0) == 1).all()) else 1
    values = np.arange(first, first + len(masks)).reshape(-1, *[1] * (masks.ndim - 1))
    labels = (masks * values).sum(axis=0).astype(np.int32)
    return Regions(labels, {v: names.get(v - first) or f"label {v}" for v in _values(labels)})


def _nested(masks: NDArray, names: Mapping[int, str]) -> Regions:
    labels = np.zeros(masks.shape[1:], np.int32)
    wanted = [k for k in range(len(masks)) if not is_background(names.get(k))]
    for channel in sorted(wanted, key=lambda k: -np.count_nonzero(masks[k])):
        labels[masks[channel]] = channel + 1
    named = {k + 1: names.get(k) or f"region {k + 1}" for k in wanted}
    whole = {named[k + 1]: int(np.count_nonzero(masks[k])) for k in wanted}
    note = (
        "The regions overlap; each voxel carries the smallest that covers it, so the label of a "
        "region marks what of it lies in no smaller one."
    )
    present = set(_values(labels))
    return Regions(labels, {v: n for v, n in named.items() if v in present}, (note,), whole)


def _values(labels: NDArray[np.int32]) -> list[int]:
    return [int(value) for value in np.unique(labels) if value > 0]
