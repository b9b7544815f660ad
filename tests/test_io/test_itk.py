from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_grids import ORDERS_AND_FLIPS, grids

from napari_precimed import io
from napari_precimed.core.geometry import Geometry
from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import GeometryError, OutputError, ReadError
from napari_precimed.io.intensity import rescaled
from napari_precimed.io.itk import read_labels, write_labels, write_volume

SUFFIXES = [".nii.gz", ".nii", ".nrrd", ".mha"]
ROUND_TRIP = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def volume_on(stored: Geometry, kind=np.int16) -> Volume:
    """A volume as a reader would give it of a file with this grid, each voxel its own value."""
    order = stored.canonical_order()
    array = np.arange(np.prod(stored.shape)).reshape(stored.shape).astype(kind)
    return Volume(
        np.ascontiguousarray(order.apply(array)),
        stored.reordered(order),
        source=Source("toy", "NIfTI", order),
    )


def itk_affine(image: sitk.Image) -> np.ndarray:
    """Index (k, j, i) -> LPS, from ITK's own fields."""
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = (direction * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine


@pytest.mark.parametrize("suffix", SUFFIXES)
@ROUND_TRIP
@given(stored=grids())
def test_written_and_read_again_it_is_the_same(tmp_path: Path, suffix, stored):
    volume = volume_on(stored)
    path = tmp_path / f"image{suffix}"
    write_volume(path, volume)
    again = io.read_volume(path)
    assert np.array_equal(again.array, volume.array)
    assert again.array.dtype == volume.array.dtype
    assert volume.geometry.difference(again.geometry) is None
    assert again.source.axis_order == volume.source.axis_order
    # What lies on disk is the source's own grid, as ITK itself reads it.
    image = sitk.ReadImage(str(path))
    assert np.array_equal(
        sitk.GetArrayFromImage(image), volume.source.axis_order.undo(volume.array)
    )
    assert stored.matches(Geometry(stored.shape, itk_affine(image)))


@pytest.mark.parametrize("order", ORDERS_AND_FLIPS, ids=str)
def test_all_48_orders_and_flips(tmp_path: Path, order):
    stored = Geometry.from_parts((3, 4, 5), (2.5, 0.7, 0.8), (1, -2, 3)).as_stored(order)
    volume = volume_on(stored)
    for suffix in SUFFIXES:
        path = tmp_path / f"image{suffix}"
        write_volume(path, volume)
        again = io.read_volume(path)
        assert np.array_equal(again.array, volume.array)
        assert volume.geometry.matches(again.geometry)


@ROUND_TRIP
@given(stored=grids(max_shear=0.3))
def test_nibabel_sees_the_same_grid(tmp_path: Path, stored):
    nibabel = pytest.importorskip("nibabel")
    volume = volume_on(stored)
    write_volume(tmp_path / "image.nii", volume)
    image = nibabel.load(tmp_path / "image.nii")
    lps = np.diag([-1, -1, 1, 1]) @ image.affine @ np.eye(4)[[2, 1, 0, 3]]
    assert stored.matches(Geometry(stored.shape, lps))
    assert np.array_equal(
        np.asanyarray(image.dataobj).T, volume.source.axis_order.undo(volume.array)
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@ROUND_TRIP
@given(stored=grids(max_shear=0.3))
def test_a_sheared_grid_is_kept_exactly(tmp_path: Path, suffix, stored):
    volume = volume_on(stored)
    write_volume(tmp_path / f"image{suffix}", volume)
    again = io.read_volume(tmp_path / f"image{suffix}")
    assert volume.geometry.difference(again.geometry) is None
    assert np.array_equal(again.array, volume.array)


@ROUND_TRIP
@given(stored=grids())
def test_a_nifti_with_only_a_qform_is_read_as_nibabel_reads_it(tmp_path: Path, stored):
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(np.prod(stored.shape), dtype=np.int16).reshape(stored.shape)
    ras = np.diag([-1, -1, 1, 1]) @ stored.affine @ np.eye(4)[[2, 1, 0, 3]]
    for maker in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        image = maker(array.T, None)
        image.set_qform(ras, 1)
        image.set_sform(None, 0)
        nibabel.save(image, tmp_path / "q.nii.gz")
        volume = io.read_volume(tmp_path / "q.nii.gz")
        seen = nibabel.load(tmp_path / "q.nii.gz").affine
        lps = np.diag([-1, -1, 1, 1]) @ seen @ np.eye(4)[[2, 1, 0, 3]]
        back = volume.geometry.as_stored(volume.source.axis_order)
        assert Geometry(stored.shape, lps).difference(back) is None
        assert stored.matches(back, tolerance_mm=0.1)  # a qform holds a turn to about 1e-3
        assert np.array_equal(volume.source.axis_order.undo(volume.array), array)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "f4", "f8", "i8"])
def test_every_voxel_type_and_byte_order(tmp_path: Path, kind, order):
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(array.dtype)
    nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4), header), tmp_path / "a.nii")
    volume = io.read_volume(tmp_path / "a.nii")
    assert volume.array.dtype.isnative
    assert np.array_equal(volume.source.axis_order.undo(volume.array), array)


@pytest.mark.parametrize(
    ("slope", "intercept", "kind"), [(1, -1024, np.int16), (2, 0, np.int16), (0.5, 1, np.float32)]
)
def test_the_scale_of_a_nifti_is_applied(tmp_path: Path, slope, intercept, kind):
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1]))
    image.header.set_slope_inter(slope, intercept)
    nibabel.save(image, tmp_path / "a.nii")
    volume = io.read_volume(tmp_path / "a.nii")
    assert volume.array.dtype == kind
    assert np.allclose(volume.array, nibabel.load(tmp_path / "a.nii").get_fdata().T)


def test_disagreeing_transforms_are_noted_and_the_sform_used(tmp_path: Path):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), None)
    image.set_sform(np.diag([1, 2, 3, 1]), 1)
    moved = np.diag([1.0, 2, 3, 1])
    moved[0, 3] = 12
    image.set_qform(moved, 1)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = io.read_volume(tmp_path / "a.nii.gz")
    assert "disagree by up to 12 mm" in volume.source.notes[0]
    assert volume.geometry.as_stored(volume.source.axis_order).origin_mm == (0, 0, 0)


def test_a_nifti_without_orientation_says_so(tmp_path: Path):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), None)
    image.header.set_zooms((1, 2, 3))
    nibabel.save(image, tmp_path / "a.nii")
    volume = io.read_volume(tmp_path / "a.nii")
    assert "no orientation" in volume.source.notes[0]
    assert volume.geometry.spacing_mm == (3, 2, 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("highest", "kind"), [(3, "u1"), (300, "u2"), (70000, "i4")])
def test_labels_come_back_on_the_scan(tmp_path: Path, suffix, highest, kind):
    volume = volume_on(Geometry.from_parts((3, 4, 5), (2, 1, 1)).as_stored(ORDERS_AND_FLIPS[29]))
    labels = np.zeros(volume.geometry.shape, np.int64)
    labels[1, 2, 1:3] = highest
    write_labels(tmp_path / f"l{suffix}", labels, volume)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"l{suffix}"))).dtype == kind
    again = read_labels(tmp_path / f"l{suffix}", volume)
    assert again.dtype == np.int32
    assert np.array_equal(again, labels)


def test_labels_stored_in_another_order_still_fit(tmp_path: Path):
    canonical = Geometry.from_parts((3, 4, 5), (2, 1, 1))
    volume = volume_on(canonical)
    other = volume_on(canonical.as_stored(ORDERS_AND_FLIPS[13]))
    labels = np.arange(60).reshape(3, 4, 5)
    write_labels(tmp_path / "l.nii.gz", labels, other)
    assert np.array_equal(read_labels(tmp_path / "l.nii.gz", volume), labels)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path):
    volume = volume_on(Geometry.from_parts((3, 4, 5), (2, 1, 1)))
    moved = volume_on(Geometry.from_parts((3, 4, 5), (2, 1, 1), (0, 0, 0.5)))
    write_labels(tmp_path / "moved.nii.gz", np.ones((3, 4, 5), int), moved)
    with pytest.raises(GeometryError, match="origin"):
        read_labels(tmp_path / "moved.nii.gz", volume)
    write_volume(tmp_path / "p.nii.gz", volume.with_array(np.full((3, 4, 5), 0.3, np.float32)))
    with pytest.raises(ReadError, match="fractions"):
        read_labels(tmp_path / "p.nii.gz", volume)
    write_volume(tmp_path / "n.nii.gz", volume.with_array(np.full((3, 4, 5), -1, np.int16)))
    with pytest.raises(ReadError, match="from -1"):
        read_labels(tmp_path / "n.nii.gz", volume)
    with pytest.raises(GeometryError):
        write_labels(tmp_path / "x.nii.gz", np.ones((3, 4, 6), int), volume)
    assert not (tmp_path / "x.nii.gz").exists()


def test_a_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path: Path):
    volume = volume_on(Geometry.from_parts((3, 4, 5)))
    with pytest.raises(OutputError, match=r"no image format.*\.nii\.gz"):
        write_volume(tmp_path / "image.png", volume)
    with pytest.raises(OutputError, match="Cannot write"):
        write_volume(tmp_path / "nowhere" / "image.nii.gz", volume)
    (tmp_path / "taken.nrrd").mkdir()
    with pytest.raises(OutputError, match="Cannot write"):
        write_volume(tmp_path / "taken.nrrd", volume)
    assert [p.name for p in tmp_path.iterdir()] == ["taken.nrrd"]


def test_numbers_that_no_format_holds_are_refused(tmp_path: Path):
    volume = volume_on(Geometry.from_parts((3, 4, 5)))
    with pytest.raises(OutputError, match="complex64"):
        write_volume(tmp_path / "a.nii.gz", volume.with_array(np.ones((3, 4, 5), np.complex64)))
    assert not list(tmp_path.iterdir())


def test_the_same_labels_give_the_same_bytes(tmp_path: Path):
    volume = volume_on(Geometry.from_parts((3, 4, 5)))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(tmp_path / name, np.ones((3, 4, 5), int), volume)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def image_of(shape, *, vector=False, kind=np.float32) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ones(shape, kind), isVector=vector)
    image.SetSpacing([1.5] * image.GetDimension())
    return image


@pytest.mark.parametrize("suffix", SUFFIXES)
class TestBadInput:
    def test_nan(self, tmp_path: Path, suffix):
        array = np.ones((3, 4, 5), np.float32)
        array[0, 0, :2] = np.nan
        array[1, 1, 1] = np.inf
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"a{suffix}"))
        with pytest.raises(ReadError, match="3 of 60 voxels are NaN or infinite"):
            io.read_volume(tmp_path / f"a{suffix}")

    def test_four_dimensions(self, tmp_path: Path, suffix):
        sitk.WriteImage(image_of((2, 3, 4, 5)), str(tmp_path / f"a{suffix}"))
        with pytest.raises(ReadError, match=r"4-D image \(5 x 4 x 3 x 2\)"):
            io.read_volume(tmp_path / f"a{suffix}")

    def test_two_dimensions(self, tmp_path: Path, suffix):
        sitk.WriteImage(image_of((4, 5)), str(tmp_path / f"a{suffix}"))
        with pytest.raises(ReadError, match="3-D image"):
            io.read_volume(tmp_path / f"a{suffix}")

    def test_several_components(self, tmp_path: Path, suffix):
        sitk.WriteImage(image_of((3, 4, 5, 3), vector=True), str(tmp_path / f"a{suffix}"))
        with pytest.raises(ReadError, match="components per voxel"):
            io.read_volume(tmp_path / f"a{suffix}")

    def test_text_under_an_image_name(self, tmp_path: Path, suffix):
        (tmp_path / f"a{suffix}").write_text("Patient: none\n")
        with pytest.raises(ReadError, match=r"a\.\w+"):
            io.read_volume(tmp_path / f"a{suffix}")

    def test_an_empty_file(self, tmp_path: Path, suffix):
        (tmp_path / f"a{suffix}").write_bytes(b"")
        with pytest.raises(ReadError):
            io.read_volume(tmp_path / f"a{suffix}")

    @pytest.mark.parametrize("part", [0.02, 0.5, 0.98])
    def test_cut_short(self, tmp_path: Path, suffix, part):
        noise = np.random.default_rng(0).integers(0, 9999, (20, 30, 40), np.int16)
        write_volume(
            tmp_path / f"a{suffix}", Volume(noise, Geometry.from_parts(noise.shape, (2, 1, 1)))
        )
        raw = (tmp_path / f"a{suffix}").read_bytes()
        (tmp_path / f"a{suffix}").write_bytes(raw[: int(len(raw) * part)])
        with pytest.raises(ReadError, match=r"damaged|no spacing"):
            io.read_volume(tmp_path / f"a{suffix}")

    def test_a_last_axis_of_one_is_no_fourth_dimension(self, tmp_path: Path, suffix):
        sitk.WriteImage(image_of((1, 3, 4, 5)), str(tmp_path / f"a{suffix}"))
        assert sorted(io.read_volume(tmp_path / f"a{suffix}").array.shape) == [3, 4, 5]


def test_no_such_file(tmp_path: Path):
    with pytest.raises(ReadError, match="no file or folder"):
        io.read_volume(tmp_path / "nowhere.nii.gz")
    with pytest.raises(ReadError, match="not a file"):
        read_labels(tmp_path / "nowhere.nii.gz", volume_on(Geometry.from_parts((3, 4, 5))))


def test_a_bit_that_fell_over_is_noticed(tmp_path: Path):
    path = tmp_path / "a.nii.gz"
    write_volume(path, volume_on(Geometry.from_parts((3, 4, 5))))
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 1  # in the checksum at the end
    path.write_bytes(bytes(raw))
    with pytest.raises(ReadError, match="CRC check failed"):
        io.read_volume(path)


def test_what_was_read_can_be_worked_on(tmp_path: Path):
    path = tmp_path / "a.nii"
    write_volume(path, volume_on(Geometry.from_parts((3, 4, 5))))
    array = io.read_volume(path).array
    assert array.flags.writeable
    assert array.flags.c_contiguous


def test_an_unknown_format_names_the_known_ones(tmp_path: Path):
    (tmp_path / "scan.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(ReadError, match="DICOM can"):
        io.read_volume(tmp_path / "scan.jpg")


def with_bytes(path: Path, at: int, value: np.generic) -> None:
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[at : at + value.nbytes] = value.tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))


@pytest.mark.parametrize("spacing", [0.0, -1.0, np.nan])
def test_a_nifti_spacing_that_is_none_is_refused(tmp_path: Path, spacing):
    path = tmp_path / "a.nii.gz"
    write_volume(path, volume_on(Geometry.from_parts((3, 4, 5))))
    with_bytes(path, 76 + 8, np.float32(spacing))  # pixdim[2]
    with pytest.raises(ReadError, match="spacing"):
        io.read_volume(path)


def test_a_nifti_in_micrometres_is_converted(tmp_path: Path):
    path = tmp_path / "a.nii.gz"
    write_volume(path, volume_on(Geometry.from_parts((3, 4, 5), (500, 250, 250))))
    with_bytes(path, 123, np.uint8(3))  # xyzt_units
    volume = io.read_volume(path)
    assert volume.geometry.spacing_mm == pytest.approx((0.5, 0.25, 0.25))
    assert "unit of length" in volume.source.notes[0]


NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n"
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 4 3 2\nElementType = MET_UCHAR\n"
)
LOCAL = "ElementDataFile = LOCAL\n"


@pytest.mark.parametrize(
    ("name", "header", "message"),
    [
        ("a.nrrd", NRRD + "\n", "gives no spacing"),
        ("a.nrrd", NRRD + "spacings: 1 nan 1\n\n", "spacing of"),
        (
            "a.nrrd",
            NRRD + "space: left-posterior-superior\n"
            "space directions: (1,0,0) (0,0,0) (0,0,2)\nspace origin: (0,0,0)\n\n",
            "spacing of",
        ),
        (
            "a.nrrd",
            NRRD + 'space: left-posterior-superior\nspace units: "um" "um" "um"\n'
            "space directions: (1,0,0) (0,1,0) (0,0,2)\nspace origin: (0,0,0)\n\n",
            "in um",
        ),
        ("a.mha", META + LOCAL, "gives no spacing"),
        ("a.mha", META + "ElementSpacing = 1 0 1\n" + LOCAL, "spacing of"),
    ],
)
def test_what_itk_would_fill_in_is_refused(tmp_path: Path, name, header, message):
    (tmp_path / name).write_bytes(header.encode() + bytes(range(24)))
    with pytest.raises(ReadError, match=message):
        io.read_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.nrrd", NRRD + "spacings: 1 1 2\n\n"),
        ("a.mha", META + "ElementSpacing = 1 1 2\n" + LOCAL),
    ],
)
def test_an_unknown_orientation_is_said(tmp_path: Path, name, header):
    (tmp_path / name).write_bytes(header.encode() + bytes(range(24)))
    volume = io.read_volume(tmp_path / name)
    assert volume.geometry.spacing_mm == (2, 1, 1)
    assert "no orientation" in volume.source.notes[0]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-32768, 32767), min_size=2, max_size=6),
    slope=st.sampled_from([1.0, 2.0, 0.25, 0.1, 700.0, 1e6]),
    intercept=st.sampled_from([0.0, -1024.0, 0.5, 40000.0]),
)
def test_rescaling_never_wraps(values, slope, intercept):
    stored = np.array(values, np.int16)
    true = np.array(values, float) * slope + intercept
    assert np.allclose(rescaled(stored, slope, intercept), true, rtol=1e-6)


@pytest.mark.data
def test_real_images_of_every_format(shared_data):
    volumes = shared_data / "imaging/volumes"
    brain = io.read_volume(volumes / "brain_pyradiomics/brain1_image.nrrd")
    assert brain.source.format == "NRRD"
    assert brain.geometry.spacing_mm == pytest.approx((6.5, 0.78125, 0.78125))
    labels = read_labels(volumes / "brain_pyradiomics/brain1_label.nrrd", brain)
    assert labels.max() == 1
    flair = next((volumes / "brain_flair_ms").glob("FLAIR*.nii.gz"))
    lesions = next((volumes / "brain_flair_ms").glob("GOLD*.nii.gz"))
    scan = io.read_volume(flair)
    assert read_labels(lesions, scan).sum() > 100
    with pytest.raises(GeometryError, match="shape"):
        read_labels(lesions, brain)
