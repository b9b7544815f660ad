"""NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz), with the exact transform.

Read here and not through ITK, because ITK (5.4) fills a truncated file with zeros, replaces a
sheared transform by an orthonormal one and a zero spacing by 1 mm, all without an error.
Layout: nifti1.h and nifti2.h of the NIfTI Data Format Working Group.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from napari_precimed.core.geometry import Geometry
from napari_precimed.errors import GeometryError, ReadError
from napari_precimed.io.intensity import rescaled

SUFFIXES = (".nii", ".nii.gz")

_HEADER_1 = np.dtype(
    [
        ("sizeof_hdr", "i4"),
        ("unused_1", "V36"),
        ("dim", "i2", 8),
        ("unused_2", "V14"),
        ("datatype", "i2"),
        ("bitpix", "i2"),
        ("slice_start", "i2"),
        ("pixdim", "f4", 8),
        ("vox_offset", "f4"),
        ("scl_slope", "f4"),
        ("scl_inter", "f4"),
        ("unused_3", "V3"),
        ("xyzt_units", "u1"),
        ("unused_4", "V128"),
        ("qform_code", "i2"),
        ("sform_code", "i2"),
        ("quatern", "f4", 3),
        ("qoffset", "f4", 3),
        ("srow", "f4", (3, 4)),
        ("intent_name", "V16"),
        ("magic", "S4"),
    ]
)
_HEADER_2 = np.dtype(
    [
        ("sizeof_hdr", "i4"),
        ("magic", "S8"),
        ("datatype", "i2"),
        ("bitpix", "i2"),
        ("dim", "i8", 8),
        ("unused_1", "V24"),
        ("pixdim", "f8", 8),
        ("vox_offset", "i8"),
        ("scl_slope", "f8"),
        ("scl_inter", "f8"),
        ("unused_2", "V152"),
        ("qform_code", "i4"),
        ("sform_code", "i4"),
        ("quatern", "f8", 3),
        ("qoffset", "f8", 3),
        ("srow", "f8", (3, 4)),
        ("slice_code", "i4"),
        ("xyzt_units", "i4"),
        ("unused_3", "V36"),
    ]
)
_VOXEL_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4",
    1024: "i8", 1280: "u8",
}  # fmt: skip
_BYTE_ORDERS: tuple[Literal["<", ">"], ...] = ("<", ">")
_CHUNK = 1 << 20
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NOTED_DISAGREEMENT_MM = 0.1  # near half a turn a float32 quaternion is no more exact


def read_nifti(path: Path) -> tuple[NDArray, Geometry, tuple[str, ...]]:
    """Read one image.

    Returns
    -------
    array : ndarray, shape (k, j, i)
        As stored, slowest axis first.
    geometry : Geometry
        Of `array`, in LPS; the sform where it has a code, else the qform.
    notes : tuple of str

    Raises
    ------
    ReadError
        If the file is no NIfTI, is cut short, or holds no single 3-D image.
    """
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as stream:
            header = _read_header(stream, path)
            shape = _shape(header, path)
            stored = _read_voxels(stream, header, shape, path)
    except (OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError) as error:
        raise ReadError(
            f"{path} cannot be decompressed or read to its end ({error}); it is damaged or no "
            "NIfTI file. Copy or export it again."
        ) from error
    affine, notes = _affine(header, shape, path)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope != 0 and np.isfinite([slope, intercept]).all():
        stored = rescaled(stored, slope, intercept)
    try:
        return stored, Geometry(shape, affine), notes
    except GeometryError as error:
        raise ReadError(f"{path}: {error}") from error


def write_nifti(path: Path, array: NDArray, geometry: Geometry) -> None:
    """Write `array`, shape (k, j, i) as stored, as NIfTI-1.

    The transform goes into the sform, exact to float32; into the qform too where it is a rotation,
    since a qform cannot hold a shear.
    """
    header = np.zeros((), _HEADER_1.newbyteorder("<"))
    code = next(c for c, kind in _VOXEL_TYPES.items() if np.dtype(kind) == array.dtype)
    header["sizeof_hdr"], header["magic"], header["vox_offset"] = 348, b"n+1", 352
    header["dim"] = (3, *array.shape[::-1], 1, 1, 1, 1)
    header["datatype"], header["bitpix"] = code, array.dtype.itemsize * 8
    header["scl_slope"], header["xyzt_units"] = 1, 2
    ras = _LPS_FROM_RAS @ geometry.affine[:, [2, 1, 0, 3]]
    header["srow"], header["sform_code"] = ras[:3], 1
    header["pixdim"][1:4] = np.linalg.norm(ras[:3, :3], axis=0)
    _set_qform(header, ras)
    voxels = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    packed = path.name.lower().endswith(".gz")
    # A fixed time stamp and name, so that the same labels give the same bytes.
    with path.open("wb") as raw:
        stream: Any = gzip.GzipFile("", "wb", 4, raw, mtime=0) if packed else raw
        stream.write(header.tobytes() + b"\0\0\0\0")
        stream.write(voxels.data)
        if packed:
            stream.close()


def _read_header(stream: IO[bytes], path: Path) -> NDArray:
    size = stream.read(4)
    for layout in (_HEADER_1, _HEADER_2):
        for order in _BYTE_ORDERS:
            if size == np.array(layout.itemsize, f"{order}i4").tobytes():
                raw = size + stream.read(layout.itemsize - 4)
                if len(raw) < layout.itemsize:
                    raise EOFError(f"the header ends after {len(raw)} bytes")
                header = np.frombuffer(raw, layout.newbyteorder(order))[0]
                if bytes(header["magic"])[:2] == b"n+":
                    return header
    raise ReadError(f"{path} is not a NIfTI file, whatever its name says; look at what it is.")


def _shape(header: NDArray, path: Path) -> tuple[int, int, int]:
    n_axes = int(header["dim"][0])
    sizes = [int(n) for n in header["dim"][1 : n_axes + 1]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    shown = " x ".join(map(str, sizes))
    if len(sizes) == 4:
        raise ReadError(
            f"{path} is a 4-D image ({shown}); save the one time point or contrast to be read as a "
            "3-D image."
        )
    if len(sizes) > 4 or int(header["datatype"]) in (128, 2304):
        raise ReadError(
            f"{path} holds several components per voxel ({shown}); one grey value per voxel is "
            "needed."
        )
    if len(sizes) != 3 or min(sizes) < 1:
        raise ReadError(f"{path} is not a 3-D image (its axes: {shown or 'none'}).")
    i, j, k = sizes
    return k, j, i


def _read_voxels(
    stream: IO[bytes], header: NDArray, shape: tuple[int, int, int], path: Path
) -> NDArray:
    code = int(header["datatype"])
    if code not in _VOXEL_TYPES:
        raise ReadError(
            f"{path} has NIfTI data type {code}, which is no real number type; save it as int16 or "
            "float32."
        )
    kind = np.dtype(_VOXEL_TYPES[code]).newbyteorder(header.dtype["dim"].base.byteorder)
    stream.seek(int(header["vox_offset"]))
    expected = int(np.prod(shape)) * kind.itemsize
    raw = stream.read(expected)
    if len(raw) < expected:
        raise EOFError(f"the voxels end after {len(raw)} of {expected} bytes")
    if isinstance(stream, gzip.GzipFile):
        while stream.read(_CHUNK):  # to the end, where the checksum is
            pass
    return np.frombuffer(raw, kind).reshape(shape).astype(kind.newbyteorder("="))


def _affine(
    header: NDArray, shape: tuple[int, int, int], path: Path
) -> tuple[NDArray, tuple[str, ...]]:
    """The LPS transform of index (k, j, i), and what was doubtful about it."""
    spacing = np.asarray(header["pixdim"][1:4], float)
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise ReadError(
            f"{path} has a spacing of {spacing.tolist()} mm; all three must be above 0. Export it "
            "again with its spacing."
        )
    sform = np.vstack([np.asarray(header["srow"], float), [0, 0, 0, 1]])
    qform = _qform(header, spacing)
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    notes: list[str] = []
    if not has_sform and not has_qform:
        notes.append(
            "The NIfTI header gives no orientation (sform and qform codes are 0): which side is "
            "left is not known, the axes are taken as right, anterior, superior."
        )
    ras = sform if has_sform else qform if has_qform else np.diag([*spacing, 1.0])
    if has_sform and has_qform:
        apart = _furthest_corner_mm(sform, qform, shape)
        if apart > _NOTED_DISAGREEMENT_MM:
            notes.append(
                f"The NIfTI header's sform and qform disagree by up to {apart:.3g} mm; the sform "
                "was used."
            )
    scale = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    if scale != 1:
        notes.append(f"The NIfTI header's unit of length is {scale:g} mm; it was converted.")
    lps = _LPS_FROM_RAS @ ras @ np.eye(4)[[2, 1, 0, 3]]
    lps[:3] *= scale
    return lps, tuple(notes)


def _qform(header: NDArray, spacing: NDArray) -> NDArray:
    """The transform (RAS) of the quaternion, as in nifti1.h, method 2."""
    b, c, d = (float(q) for q in header["quatern"])
    a = 1 - (b * b + c * c + d * d)
    if a < 1e-7:  # half a turn, as in nifti1_io.c: float32 holds no smaller a
        b, c, d = np.array([b, c, d]) / np.sqrt(b * b + c * c + d * d)
        a = 0.0
    a = np.sqrt(a)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handedness = -1.0 if header["pixdim"][0] < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing * [1, 1, handedness]
    affine[:3, 3] = header["qoffset"]
    return affine


def _set_qform(header: NDArray, ras: NDArray) -> None:
    rotation = ras[:3, :3] / np.linalg.norm(ras[:3, :3], axis=0)
    if not np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-6):
        return
    handedness = np.sign(np.linalg.det(rotation))
    x, y, z, w = Rotation.from_matrix(rotation * [1, 1, handedness]).as_quat()
    sign = -1.0 if w < 0 else 1.0
    header["quatern"] = sign * x, sign * y, sign * z
    header["qoffset"] = ras[:3, 3]
    header["pixdim"][0], header["qform_code"] = handedness, 1


def _furthest_corner_mm(one: NDArray, other: NDArray, shape: tuple[int, int, int]) -> float:
    corners = np.stack(np.meshgrid(*((0, n - 1) for n in shape[::-1])), -1).reshape(-1, 3)
    gap = corners @ (one - other)[:3, :3].T + (one - other)[:3, 3]
    return float(np.linalg.norm(gap, axis=1).max())
