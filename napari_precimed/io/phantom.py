"""Synthetic scans with lesions whose size is known: samples, the demo, tests.

The chest CT has the densities, noise and resolution of a real one and four ellipsoidal nodules.
What lies on one side only tells left from right: heart and stomach bubble are on the patient's
left, the liver on the right. Every call gives the same voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import ReadError
from napari_precimed.io.phantom_vessels import vessel_points

PHANTOM_PATH_PREFIX = "phantom:"
PATIENT_ID = "PHANTOM-01"

_STUDY_UID = "2.25.140127843291760318255047718462905311201"
_CT_UID = "2.25.140127843291760318255047718462905311202"
_MR_UID = "2.25.140127843291760318255047718462905311203"

_AIR, _FAT, _SOFT, _LIVER, _BONE, _LUNG = -1000.0, -100.0, 40.0, 60.0, 450.0, -860.0
_CT_NOISE_HU = 22.0
_SUBSAMPLES = 5


@dataclass(frozen=True)
class KnownLesion:
    """An ellipsoid put into a phantom.

    Attributes
    ----------
    centre_mm : tuple of float
        World (x, y, z).
    radii_mm : tuple of float
        Half axes along world (x, y, z).
    value : float
        Grey value inside, HU for the CT.
    """

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    value: float

    @property
    def volume_mm3(self) -> float:
        """The volume of the ellipsoid, 4/3 pi a b c."""
        return float(4 / 3 * np.pi * np.prod(self.radii_mm))


_CT_LESIONS = (
    KnownLesion((-58.0, -18.0, 42.0), (7.0, 6.0, 7.0), 30.0),
    KnownLesion((-52.0, 30.0, -42.0), (4.0, 4.0, 4.0), 20.0),
    KnownLesion((56.0, 12.0, 38.0), (10.0, 8.0, 9.0), 45.0),
    KnownLesion((60.0, 36.0, -30.0), (5.0, 5.0, 6.0), 35.0),
)
_MR_LESIONS = (
    KnownLesion((28.0, 12.0, 18.0), (11.0, 9.0, 10.0), 260.0),
    KnownLesion((-24.0, -22.0, 14.0), (5.0, 6.0, 5.0), 240.0),
)


def read_phantom(path: str) -> Volume:
    """The phantom that ``phantom:ct`` or ``phantom:mr`` names.

    Raises
    ------
    ReadError
        If `path` names another.
    """
    makers = {"ct": phantom_ct, "mr": phantom_mr}
    name = path.removeprefix(PHANTOM_PATH_PREFIX)
    if name not in makers:
        raise ReadError(f"There is no built-in phantom '{name}'; there are {', '.join(makers)}.")
    return makers[name]()


def phantom_truth(kind: str = "ct") -> tuple[KnownLesion, ...]:
    """The lesions of `phantom_ct` ("ct") or `phantom_mr` ("mr"), in no particular order."""
    return {"ct": _CT_LESIONS, "mr": _MR_LESIONS}[kind]


def phantom_ct() -> Volume:
    """A chest CT: (130, 320, 320) voxels of 2 x 0.8 x 0.8 mm, HU as int16."""
    geometry = _centred((130, 320, 320), (2.0, 0.8, 0.8))
    hu = np.full(geometry.shape, _AIR, np.float32)
    _paint_trunk(hu, geometry)
    lungs = _paint_lungs(hu, geometry)
    _paint_organs(hu, geometry)
    for point, radius in vessel_points(lungs, geometry, _CT_LESIONS):
        _paint_ellipsoid(hu, geometry, point, (radius,) * 3, _SOFT)
    for lesion in _CT_LESIONS:
        _paint_lesion(hu, geometry, lesion)
    ndimage.gaussian_filter(hu, (0.3, 0.7, 0.7), output=hu, truncate=2.5)
    hu += _noise(geometry.shape, _CT_NOISE_HU)
    np.clip(hu, -1024, 3071, out=hu)
    return _volume(hu, geometry, "CT", "ct", _CT_UID, "Synthetic chest CT")


def phantom_mr() -> Volume:
    """A FLAIR-like MR of the head: (60, 144, 120) voxels of 3 x 1.5 x 1.5 mm, int16."""
    geometry = _centred((60, 144, 120), (3.0, 1.5, 1.5))
    grey = np.zeros(geometry.shape, np.float32)
    for centre, radii, value in (
        ((0, 0, 0), (78, 98, 84), 170.0),  # scalp
        ((0, 0, 0), (73, 93, 79), 20.0),  # skull
        ((0, 0, 0), (68, 88, 74), 45.0),  # cerebrospinal fluid
        ((0, 0, 2), (65, 84, 70), 150.0),  # grey matter
        ((0, 0, 4), (54, 72, 58), 125.0),  # white matter
        ((-11, -4, 8), (7, 26, 11), 30.0),  # ventricles
        ((11, -4, 8), (7, 26, 11), 30.0),
        ((34, 55, -58), (26, 20, 14), 140.0),  # cerebellum, larger on the left
        ((-30, 55, -58), (20, 18, 12), 140.0),
    ):
        _paint_ellipsoid(grey, geometry, centre, radii, value)
    for lesion in _MR_LESIONS:
        _paint_lesion(grey, geometry, lesion)
    ndimage.gaussian_filter(grey, (0.3, 0.6, 0.6), output=grey, truncate=2.5)
    grey += _noise(geometry.shape, 6.0)
    return _volume(np.abs(grey), geometry, "MR", "mr", _MR_UID, "Synthetic FLAIR of the head")


def _paint_trunk(hu: NDArray, geometry: Geometry) -> None:
    """Fat, muscle, ribs and spine: the same outline in every slice."""
    z, y, x = _axes_mm(geometry)
    reach = np.sqrt((x / 121) ** 2 + (y / 94) ** 2)[0]
    section = np.select([reach < 0.93, reach < 1], [_SOFT, _FAT], _AIR)
    hu[:] = section
    rib = (reach > 0.855) & (reach < 0.915)
    rows, columns = np.nonzero(rib)
    lowered = 0.45 * y[0, rows, 0] + 0.1 * np.abs(x[0, 0, columns])  # ribs slope to the front
    heights, places = np.nonzero((z[:, :, 0] - lowered) % 26 < 8)
    hu[heights, rows[places], columns[places]] = _BONE
    vertebra = ((x / 18) ** 2 + ((y - 63) / 14) ** 2)[0]
    canal = (x**2 + (y - 80) ** 2)[0]
    hu[:, vertebra < 1] = 220.0
    hu[:, (vertebra < 1) & (vertebra > 0.8)] = _BONE
    hu[:, canal < 7**2] = 20.0
    sternum = ((x / 15) ** 2 + ((y + 78) / 6) ** 2)[0]
    hu[:, sternum < 1] = 300.0


def _paint_lungs(hu: NDArray, geometry: Geometry) -> NDArray[np.bool_]:
    """Two lungs above a domed diaphragm; returns their voxels."""
    z, y, x = _axes_mm(geometry)
    lungs = np.zeros(hu.shape, bool)
    for side, dome_top in ((-1, -72.0), (1, -84.0)):
        across = ((x - side * 54) / 43) ** 2 + (y / 64) ** 2
        lungs |= (across + ((z + 30) / 140) ** 2 < 1) & (z > dome_top - 30 * across)
    lungs &= np.abs(x) > 12
    texture = 18 * np.sin(z / 17) * np.sin(y / 13 + 1) * np.sin(x / 11 + 2)
    texture += _LUNG + 0.5 * y  # denser at the back, where blood sinks
    np.copyto(hu, texture, where=lungs)
    return lungs


def _paint_organs(hu: NDArray, geometry: Geometry) -> None:
    """Heart and stomach on the left, liver on the right, airways in the middle."""
    z, _, x = _axes_mm(geometry)
    below = hu[: np.count_nonzero(z < -75)]
    below[(below == _SOFT) & (x < 0)] = _LIVER
    _paint_ellipsoid(hu, geometry, (24, -28, -45), (44, 36, 46), _SOFT)
    _paint_ellipsoid(hu, geometry, (55, -10, -112), (26, 30, 12), _AIR)
    _paint_ellipsoid(hu, geometry, (16, 44, 0), (11, 11, 400), _SOFT)  # descending aorta
    trachea = [(0.0, -4.0, height) for height in np.arange(18.0, 132.0, 1.0)]
    bronchi = [
        (side * t * 34, -4 + 6 * t, 18 - 26 * t) for side in (-1, 1) for t in np.linspace(0, 1, 40)
    ]
    for wall, value in ((2.0, _SOFT), (0.0, _AIR)):
        for points, radius in ((bronchi, 5.5), (trachea, 8.0)):
            for point in points:
                _paint_ellipsoid(hu, geometry, point, (radius + wall,) * 3, value)


def _paint_ellipsoid(
    array: NDArray,
    geometry: Geometry,
    centre_mm: Sequence[float],
    radii_mm: Sequence[float],
    value: float,
) -> None:
    box, _ = _box(geometry, centre_mm, radii_mm)
    z, y, x = (
        axis[tuple(s if n > 1 else slice(None) for s, n in zip(box, axis.shape, strict=True))]
        for axis in _axes_mm(geometry)
    )
    (cx, cy, cz), (rx, ry, rz) = centre_mm, radii_mm
    inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1
    array[box][inside] = value


def _paint_lesion(array: NDArray, geometry: Geometry, lesion: KnownLesion) -> None:
    """Blend by the part of each voxel that lies inside, so that the volume is right."""
    box, starts = _box(geometry, lesion.centre_mm, lesion.radii_mm)
    offsets = (np.arange(_SUBSAMPLES) + 0.5) / _SUBSAMPLES - 0.5
    squares = []
    for axis, world in enumerate((2, 1, 0)):
        n_voxels = array[box].shape[axis]
        index = starts[axis] + (np.arange(n_voxels)[:, None] + offsets).ravel()
        place = geometry.origin_mm[world] + index * geometry.spacing_mm[axis]
        squares.append(((place - lesion.centre_mm[world]) / lesion.radii_mm[world]) ** 2)
    inside = squares[0][:, None, None] + squares[1][:, None] + squares[2] < 1
    z, y, x = array[box].shape
    s = _SUBSAMPLES
    part = inside.reshape(z, s, y, s, x, s).mean(axis=(1, 3, 5))
    array[box] += part * (lesion.value - array[box])


def _box(
    geometry: Geometry, centre_mm: Sequence[float], radii_mm: Sequence[float]
) -> tuple[tuple[slice, slice, slice], list[int]]:
    """The voxels that an upright ellipsoid may touch, as slices and their first indices."""
    middle = geometry.world_to_index(centre_mm)
    reach = np.array(radii_mm[::-1]) / geometry.spacing_mm + 1
    low = np.clip(np.floor(middle - reach).astype(int), 0, geometry.shape)
    high = np.clip(np.ceil(middle + reach).astype(int) + 1, 0, geometry.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return (z, y, x), [int(a) for a in low]


def _axes_mm(geometry: Geometry) -> tuple[NDArray, NDArray, NDArray]:
    """World z, y and x of an upright grid's voxels, shaped to broadcast over (z, y, x)."""
    z, y, x = (
        (geometry.origin_mm[world] + np.arange(n) * step).astype(np.float32)
        for world, n, step in zip((2, 1, 0), geometry.shape, geometry.spacing_mm, strict=True)
    )
    return z[:, None, None], y[None, :, None], x[None, None, :]


def _centred(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Geometry:
    """An upright grid whose middle is the world's origin."""
    origin = [-step * (n - 1) / 2 for n, step in zip(shape[::-1], spacing_mm[::-1], strict=True)]
    return Geometry.from_parts(shape, spacing_mm, origin)


def _noise(shape: tuple[int, int, int], sd: float) -> NDArray[np.float32]:
    return np.random.default_rng(11).standard_normal(shape, np.float32) * np.float32(sd)


def _volume(
    grey: NDArray, geometry: Geometry, modality: str, name: str, series_uid: str, description: str
) -> Volume:
    return Volume(
        array=np.rint(grey).astype(np.int16),
        geometry=geometry,
        modality=modality,
        patient_id=PATIENT_ID,
        study_uid=_STUDY_UID,
        series_uid=series_uid,
        source=Source(
            f"{PHANTOM_PATH_PREFIX}{name}",
            "phantom",
            notes=("Synthetic image: no patient was scanned.",),
        ),
        series_description=description,
    )
