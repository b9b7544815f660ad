"""NRRD and MetaImage through SimpleITK, NIfTI through `nifti`; reading, and writing back.

What is written lies on the grid of the file that the volume was read from, in its axis order.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from napari_precimed.core.files import atomic_path, check_writable
from napari_precimed.core.geometry import AxisOrder, Geometry
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import GeometryError, OutputError, ReadError
from napari_precimed.io import nifti
from napari_precimed.io.intensity import refuse_non_finite
from napari_precimed.io.itk_header import orientation_notes

_FORMATS = {
    ".nii.gz": "NIfTI",
    ".nii": "NIfTI",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
}
_WRITTEN = (".nii.gz", ".nii", ".nrrd", ".mha")


def suffix_of(path: Path) -> str | None:
    """The suffix of an image file that this module reads, in lower case; None for any other."""
    name = path.name.lower()
    return next((suffix for suffix in _FORMATS if name.endswith(suffix)), None)


def read_itk(path: Path) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file.

    Raises
    ------
    ReadError
        If the file is damaged, not a 3-D image of one finite grey value per voxel, or has no
        spacing.
    """
    array, stored, notes = _read_stored(path)
    refuse_non_finite(array, str(path))
    order = stored.canonical_order()
    return Volume(
        array=np.ascontiguousarray(order.apply(array)),
        geometry=stored.reordered(order),
        source=Source(str(path), _FORMATS[suffix_of(path) or ".nii"], order, notes),
    )


def read_labels(path: Path, volume: Volume) -> NDArray[np.int32]:
    """Read a label image that lies on the grid of `volume`.

    Returns
    -------
    ndarray of int32, shape (z, y, x)
        In canonical order, whatever the order of the file.

    Raises
    ------
    GeometryError
        If it lies on another grid; the message says what differs.
    ReadError
        If it holds other values than whole numbers from 0.
    """
    image = read_itk(_existing(path))
    difference = volume.geometry.difference(image.geometry)
    if difference is not None:
        raise GeometryError(
            f"{path} does not lie on the grid of the scan: {difference}. Resample the labels onto "
            "the scan, or draw them on it."
        )
    labels = image.array
    if np.issubdtype(labels.dtype, np.floating) and (labels != np.rint(labels)).any():
        raise ReadError(f"{path} holds fractions, so it is no label image; labels are 0, 1, 2, ...")
    if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
        raise ReadError(
            f"{path} holds labels from {labels.min()} to {labels.max()}; expected 0 up."
        )
    return labels.astype(np.int32)


def write_labels(path: Path, labels: NDArray, volume: Volume) -> None:
    """Write labels as an image on the grid, and in the axis order, of the volume's source.

    Parameters
    ----------
    path : Path
        Ends in .nii.gz, .nii, .nrrd or .mha. Written beside and renamed.
    labels : ndarray of integers or bool, shape (z, y, x)
        On the volume's canonical grid.
    volume : Volume

    Raises
    ------
    GeometryError
        If `labels` has another shape than the volume.
    OutputError
        If the file cannot be written, or `path` names another format.
    """
    highest = int(labels.max(initial=0))
    kind = np.uint8 if highest < 2**8 else np.uint16 if highest < 2**16 else np.int32
    write_volume(path, volume.with_array(labels.astype(kind)))


def write_volume(path: Path, volume: Volume) -> None:
    """Write an image on the grid, and in the axis order, of the volume's source.

    The parameters and errors are those of `write_labels`; the voxel type is kept.
    """
    path = Path(path)
    suffix = _suffix_to_write(path)
    order = volume.source.axis_order if volume.source else AxisOrder()
    stored = np.ascontiguousarray(order.undo(_storable(volume.array)))
    geometry = volume.geometry.as_stored(order)
    with atomic_path(path) as beside:
        if suffix in nifti.SUFFIXES:
            nifti.write_nifti(beside, stored, geometry)
        else:
            _write_sitk(beside, stored, geometry)


def check_output(path: Path) -> None:
    """Raise `OutputError` now, if `write_volume` could not write `path` later."""
    _suffix_to_write(path)
    check_writable(path)


def _suffix_to_write(path: Path) -> str:
    suffix = next((s for s in _WRITTEN if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise OutputError(f"'{path.name}' names no image format; end it in {', '.join(_WRITTEN)}.")
    return suffix


def _read_stored(path: Path) -> tuple[NDArray, Geometry, tuple[str, ...]]:
    if suffix_of(path) in nifti.SUFFIXES:
        return nifti.read_nifti(path)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings are errors here, and raised
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        notes = orientation_notes(path)
        _refuse_unless_3d(reader, path)
        image = reader.Execute()
    except RuntimeError as error:
        raise ReadError(
            f"{path} is damaged, cut short, or not what its name says; copy or export it again "
            f"({_last_line(error)})."
        ) from error
    array = sitk.GetArrayFromImage(image)
    shape = array.shape[-3:]
    spacing_mm = image.GetSpacing()[:3]
    n_axes = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(n_axes, n_axes)[:3, :3]
    try:
        geometry = Geometry.from_parts(
            shape, spacing_mm[::-1], image.GetOrigin()[:3], direction[:, ::-1]
        )
    except GeometryError as error:
        raise ReadError(f"{path}: {error}") from error
    return array.reshape(shape), geometry, notes


def _refuse_unless_3d(reader: sitk.ImageFileReader, path: Path) -> None:
    sizes = list(reader.GetSize())
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    shown = " x ".join(map(str, sizes))
    if len(sizes) != 3:
        raise ReadError(
            f"{path} is a {len(sizes)}-D image ({shown}); save the part to be read as a 3-D image."
        )
    if reader.GetNumberOfComponents() != 1:
        raise ReadError(
            f"{path} holds {reader.GetNumberOfComponents()} components per voxel ({shown}); one "
            "grey value per voxel is needed."
        )


def _write_sitk(path: Path, stored: NDArray, geometry: Geometry) -> None:
    image = sitk.GetImageFromArray(stored)
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction[:, ::-1].ravel().tolist())
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
        # ITK does not always notice a full disk, so that what it wrote is read once more.
        whole = np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), stored)
    except RuntimeError as error:
        raise _disk_error(path, stored, _last_line(error)) from error
    if not whole:
        raise _disk_error(path, stored, "what was written is not what was to be written")


def _disk_error(path: Path, stored: NDArray, why: str) -> OSError:
    """ITK does not say that a disk is full; where the image may not have fitted, this does."""
    full = shutil.disk_usage(path.parent).free < stored.nbytes
    return OSError(errno.ENOSPC if full else errno.EIO, why)


def _storable(array: NDArray) -> NDArray:
    """The same values in a type that every format here knows."""
    if array.dtype.kind not in "biuf":
        raise OutputError(f"An image of type {array.dtype} cannot be written; give real numbers.")
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _existing(path: Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise ReadError(f"{path} is not a file; check the path.")
    if suffix_of(path) is None:
        raise ReadError(f"{path.name} names no image format; expected {', '.join(_FORMATS)}.")
    return path


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip().rstrip(".")
