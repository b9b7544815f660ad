from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEGLosslessSV1, RLELossless, RTStructureSetStorage

from napari_precimed import io
from napari_precimed.errors import ReadError, SeriesChoiceError
from napari_precimed.io.dicom import list_series


def setting(**values):
    def spoil(k, header):
        for keyword, value in values.items():
            setattr(header, keyword, value)

    return spoil


def on_slice(at, **values):
    return lambda k, header: setting(**values)(k, header) if k == at else None


def test_a_series_is_sorted_by_position_and_scaled(write_series):
    volume = io.read_volume(write_series(5))
    assert volume.array.shape == (5, 6, 5)
    assert volume.array.dtype == np.int16
    for k in range(5):
        assert (volume.array[k] == np.arange(5) + 100 * k - 1024).all()
    assert volume.geometry.spacing_mm == pytest.approx((2.5, 0.5, 0.75))
    assert volume.geometry.origin_mm == pytest.approx((-20, 30, -100))
    assert volume.patient_id == "P-7"
    assert volume.modality == "CT"
    assert volume.study_uid == "1.2.3.4"
    assert volume.series_uid == "1.2.3.4.1"
    assert volume.study_date == "20240229"
    assert volume.series_description == "Thorax"
    assert volume.intensity_unit == "HU"
    assert volume.source.format == "DICOM"


def test_one_file_stands_for_its_series(write_series):
    folder = write_series(5)
    write_series(4, series_uid="1.2.3.4.2")
    one = next(folder.glob("*1.2.3.4.2.dcm"))
    assert io.read_volume(one).series_uid == "1.2.3.4.2"
    assert io.read_volume(one).array.shape == (4, 6, 5)


def test_a_descending_feet_first_sagittal_series_is_brought_upright(write_series):
    def sagittal(k, header):
        header.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        header.ImagePositionPatient = [40 - 3.0 * k, -10, 90]

    volume = io.read_volume(write_series(5, sagittal))
    assert volume.array.shape == (6, 5, 5)
    assert volume.geometry.spacing_mm == pytest.approx((0.5, 0.75, 3.0))
    # Slice k lies at x = 40 - 3 k; the canonical last axis runs to the left, towards larger x.
    assert (volume.array[:, :, 4] // 100 == volume.array[0, 0, 4] // 100).all()
    for k in range(5):
        z, y, x = np.rint(volume.geometry.world_to_index((40 - 3 * k, -10, 90))).astype(int)
        assert volume.array[z, y, x] == 100 * k - 1024


def test_an_oblique_series_keeps_its_exact_place(write_series):
    row, column = np.array([0.8, 0.6, 0]), np.array([0, 0, -1.0])
    normal = np.cross(row, column)

    def oblique(k, header):
        header.ImageOrientationPatient = [*row, *column]
        header.ImagePositionPatient = list(np.array([5.0, 6, 7]) + 1.7 * k * normal)

    volume = io.read_volume(write_series(6, oblique))
    stored = volume.geometry.as_stored(volume.source.axis_order)
    back = volume.source.axis_order.undo(volume.array)
    for k in range(6):
        place = np.array([5.0, 6, 7]) + 1.7 * k * normal + 2 * 0.75 * row + 3 * 0.5 * column
        index = np.rint(stored.world_to_index(place)).astype(int)
        assert np.allclose(stored.index_to_world(index), place, atol=1e-6)
        assert back[tuple(index)] == 100 * k + 2 - 1024


def test_several_series_must_be_chosen_between(write_series):
    folder = write_series(5)
    write_series(
        4, setting(SeriesNumber=9, SeriesDescription="Lung"), series_uid="1.2.9", folder="series/b"
    )
    with pytest.raises(SeriesChoiceError, match=r"2 series.*--series") as caught:
        io.read_volume(folder)
    summaries = caught.value.series
    assert [s.series_uid for s in summaries] == ["1.2.3.4.1", "1.2.9"]
    assert [s.n_slices for s in summaries] == [5, 4]
    assert [s.description for s in summaries] == ["Thorax", "Lung"]
    assert summaries[0].spacing_mm == pytest.approx((2.5, 0.5, 0.75))
    assert "Lung" in str(caught.value)
    assert io.read_volume(folder, series="1.2.9").array.shape[0] == 4
    assert io.read_volume(folder, series="4").array.shape[0] == 5
    with pytest.raises(ReadError, match=r"'77'.*1\.2\.9"):
        io.read_volume(folder, series="77")


def test_a_folder_of_several_patients_says_whose_each_series_is(write_series):
    folder = write_series(4)
    other = setting(PatientID="P-8", StudyDate="20250301")
    write_series(4, other, series_uid="1.2.9", folder="series/b")
    with pytest.raises(SeriesChoiceError, match=r"2 series of 2 patients \(P-7, P-8\)") as caught:
        io.read_volume(folder)
    assert "patient P-7, 20240229) 1.2.3.4.1" in str(caught.value)
    assert "patient P-8, 20250301) 1.2.9" in str(caught.value)


def test_a_series_that_is_no_volume_is_still_listed(write_series):
    listed = list_series(write_series(2))
    assert listed[0].n_slices == 2
    assert listed[0].spacing_mm is None
    assert listed[0].number == 4


def test_unknown_fields_are_none(write_series):
    def bare(k, header):
        del header.SeriesDescription, header.SeriesNumber
        header.PatientID, header.StudyDate = "", ""

    volume = io.read_volume(write_series(4, bare))
    assert volume.patient_id is None
    assert volume.study_date is None
    assert volume.series_description is None


def test_what_is_no_image_is_left_out_and_said(write_series):
    folder = write_series(5)
    (folder / "notes.txt").write_text("hello")
    structures = pydicom.dcmread(next(folder.glob("*.dcm")))
    structures.Modality, structures.SeriesInstanceUID = "RTSTRUCT", "1.2.8"
    structures.SOPClassUID = RTStructureSetStorage
    structures.save_as(folder / "rs.dcm")
    volume = io.read_volume(folder)
    assert volume.array.shape[0] == 5
    assert "1 RTSTRUCT" in volume.source.notes[0]
    assert "1 non-DICOM" in volume.source.notes[0]


def test_a_copied_file_is_read_once(write_series):
    folder = write_series(5)
    one = next(folder.glob("*.dcm"))
    (folder / "copy of slice.dcm").write_bytes(one.read_bytes())
    volume = io.read_volume(folder)
    assert volume.array.shape[0] == 5
    assert "repeat" in volume.source.notes[0]


def test_run_length_coded_slices(write_series):
    plain = io.read_volume(write_series(4))
    folder = write_series(4, lambda k, header: header.compress(RLELossless), folder="rle")
    packed = io.read_volume(folder)
    assert np.array_equal(plain.array, packed.array)


def test_fractional_and_changing_rescale_slopes(write_series):
    halves = io.read_volume(write_series(4, setting(RescaleSlope="0.5", RescaleIntercept="-3")))
    assert halves.array.dtype == np.float32
    assert halves.array[2, 0, 3] == pytest.approx(203 * 0.5 - 3)

    def growing(k, header):
        header.RescaleSlope, header.RescaleIntercept = str(k + 1), "0"
        header.Modality = "PT"

    pet = io.read_volume(write_series(4, growing, folder="pet"))
    assert [float(v) for v in pet.array[:, 0, 0]] == [0, 200, 600, 1200]
    assert any("slice to slice" in note for note in pet.source.notes)


def test_wide_values_are_not_wrapped(write_series):
    volume = io.read_volume(write_series(4, setting(RescaleSlope="200")))
    assert volume.array[3, 0, 4] == 304 * 200 - 1024


@pytest.mark.parametrize(
    ("leave_out", "message"),
    [
        ((2,), r"Slice 3 of 6 is missing between z = -97\.50 and -92\.50 mm"),
        ((2, 3), r"Slices 3 to 4 of 6 are missing between z = -97\.50 and -90\.00 mm"),
        ((1, 4), r"Slice 2 of 6 is missing.*and 1 more further on"),
    ],
)
def test_missing_slices_are_named(write_series, leave_out, message):
    n = 6
    with pytest.raises(ReadError, match=message):
        io.read_volume(write_series(n, leave_out=leave_out))


def shifted(at, by):
    def spoil(k, header):
        if k == at:
            position = np.array(header.ImagePositionPatient, float) + by
            header.ImagePositionPatient = list(position)

    return spoil


def tilted(k, header):
    header.ImageOrientationPatient = [1, 0, 0, 0, 0.97, -0.2431]


REFUSED = {
    "uneven": (6, shifted(3, (0, 0, 0.6)), "unevenly spaced"),
    "beside the line": (6, shifted(3, (1.0, 0, 0)), "beside the line"),
    "two slices": (2, None, "2 slices; at least 3"),
    "one slice": (1, None, "1 slice; at least 3"),
    "one position": (4, setting(ImagePositionPatient=[0, 0, 0]), "All 4 slices lie at one"),
    "two at one position": (5, shifted(3, (0, 0, -2.5)), "5 slices lie at only 4 positions"),
    "gantry tilt": (5, tilted, r"sheared by 14\.\d degrees"),
    "two orientations": (
        5, on_slice(2, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]), "mixes 2 slice orientations"
    ),
    "orientation is none": (
        5, setting(ImageOrientationPatient=[1, 0, 0, 0.5, 0.5, 0]), "perpendicular unit vectors"
    ),
    "no position": (
        5, lambda k, header: header.pop("ImagePositionPatient"), "no usable ImagePositionPatient"
    ),
    "no orientation": (
        5, lambda k, header: header.pop("ImageOrientationPatient"), "usable ImageOrientationPatient"
    ),
    "no pixel spacing": (5, lambda k, header: header.pop("PixelSpacing"), "no usable PixelSpacing"),
    "zero pixel spacing": (5, setting(PixelSpacing=[0, 0]), "both must be above 0"),
    "other pixel spacing": (5, on_slice(1, PixelSpacing=[0.6, 0.75]), "mixes pixel spacings"),
    "other size": (
        5, on_slice(1, Rows=3, PixelData=bytes(2 * 3 * 5 + 0) + b""), "mixes image heights"
    ),
    "two patients": (5, on_slice(1, PatientID="P-8"), "mixes patients.*P-7.*P-8"),
    "localizer": (5, setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localizer"),
    "colour": (5, setting(SamplesPerPixel=3, PhotometricInterpretation="RGB"), "colour"),
    "several frames": (5, setting(NumberOfFrames=2), "multi-frame image"),
    "lookup table": (5, setting(ModalityLUTSequence=[pydicom.Dataset()]), "lookup table"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_regular_volume_is_refused_with_the_reason(write_series, case):
    n, spoil, message = REFUSED[case]
    folder = write_series(n, *([spoil] if spoil else []))
    with pytest.raises(ReadError, match=message) as caught:
        io.read_volume(folder)
    assert "\n" not in str(caught.value)


def test_a_slice_cut_short_is_refused(write_series):
    folder = write_series(5)
    one = sorted(folder.glob("*.dcm"))[2]
    one.write_bytes(one.read_bytes()[:-30])
    with pytest.raises(ReadError, match=f"{one.name}.*truncated"):
        io.read_volume(folder)


def test_a_slice_cut_anywhere_is_refused(write_series):
    folder = write_series(4)
    one = min(folder.glob("*.dcm"))  # the lowest slice: no gap would tell
    whole = one.read_bytes()
    for kept in range(0, len(whole), 37):
        one.write_bytes(whole[:kept])
        with pytest.raises(ReadError, match=one.name):
            io.read_volume(folder)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_damaged_header_is_refused_or_read_never_a_crash(write_series):
    folder = write_series(4)
    one = min(folder.glob("*.dcm"))
    whole = one.read_bytes()
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(80):
        spoilt = bytearray(whole)
        spoilt[random.integers(128, 840)] = random.integers(256)
        one.write_bytes(spoilt)
        try:
            io.read_volume(folder)
        except ReadError:
            refused += 1
    assert refused > 15


def test_a_compression_without_decoder_is_named(write_series):
    def unknown(k, header):
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
        header.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        header["PixelData"].VR = "OB"

    with pytest.raises(ReadError, match=r"JPEG Lossless.*1\.2\.4\.70.*napari-precimed\[codecs\]"):
        io.read_volume(write_series(4, unknown))


def test_folders_without_a_scan(tmp_path: Path):
    with pytest.raises(ReadError, match="is empty"):
        io.read_volume(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ReadError, match="no DICOM image"):
        io.read_volume(tmp_path)


DICOM = "imaging/dicom"
TRUE_COPIES = [
    "anatomical/001",
    "anatomical/001_implicit",
    "compressed/compressed_rle/001",
    "compressed/compressed/001",
    "compressed/compressed_j2k/001",
    "compressed/compressed_jpegls/001",
]


@pytest.mark.data
@pytest.mark.parametrize("folder", TRUE_COPIES)
def test_real_series_equal_their_reference(shared_data, folder):
    path = shared_data / DICOM / folder
    volume = io.read_volume(path)
    reference = io.read_volume(path.with_name(f"{path.name}_ground_truth.nii.gz"))
    assert np.array_equal(volume.array, reference.array)
    assert volume.geometry.difference(reference.geometry) is None


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("failing/sliceincrement/001", r"Slice 4 of 5 is missing between z = 28\.11 and 38\.11"),
        ("failing/sliceincrement/002", r"Slice 4 of 5 is missing"),
        ("failing/sliceorientation/001", "mixes 2 slice orientations"),
        ("failing/slicecount/001", "2 slices; at least 3"),
        ("failing/notavolume/001", "All 4 slices lie at one position"),
        ("failing/gantrytilting/001", r"sheared by 14\.0 degrees \(gantry tilt\)"),
        ("enhanced_multiframe/anatomical/001", r"multi-frame image \(8 frames\)"),
        ("missing_slice", r"Slice 14 of 19 is missing between z = 17\.20 and 22\.89 mm"),
        ("rtstruct/empty", "no DICOM image .*1 RTSTRUCT"),
        ("rtstruct/mock_data", "2 slices"),
        ("rtstruct/one_slice_data", "1 slice;"),
    ],
)
def test_real_hard_series_are_refused_with_the_reason(shared_data, folder, message):
    with pytest.raises(ReadError, match=message):
        io.read_volume(shared_data / DICOM / folder)


@pytest.mark.data
def test_lossless_jpeg_is_read_right_or_refused(shared_data):
    path = shared_data / DICOM / "compressed/compressed_jpeg/001"
    if get_decoder(JPEGLosslessSV1).is_available:
        reference = io.read_volume(path.with_name("001_ground_truth.nii.gz"))
        assert np.array_equal(io.read_volume(path).array, reference.array)
    else:
        with pytest.raises(ReadError, match=r"JPEG Lossless.*\[codecs\]"):
            io.read_volume(path)


@pytest.mark.data
def test_segmentations_beside_a_ct_are_left_out(shared_data):
    volume = io.read_volume(shared_data / DICOM / "seg")
    assert volume.array.shape == (3, 512, 512)
    assert volume.geometry.spacing_mm[0] == pytest.approx(1.0)
    assert "2 SEG" in volume.source.notes[0]


@pytest.mark.data
def test_an_oblique_series_from_a_real_toolkit(shared_data):
    volume = io.read_volume(shared_data / DICOM / "rtstruct/oriented_data")
    assert sorted(volume.geometry.spacing_mm) == pytest.approx([2.5, 3.5, 4.5], abs=1e-3)
    assert volume.geometry.obliquity_deg > 10


@pytest.mark.data
def test_the_chest_ct_is_the_same_as_dicom_and_as_nifti(shared_data):
    folder = shared_data / "imaging/volumes/chest_ct_ibsi"
    dicom = io.read_volume(folder / "dicom/image")
    nifti = io.read_volume(folder / "nifti/image/phantom.nii.gz")
    assert dicom.array.dtype == np.int16
    assert np.array_equal(dicom.array, nifti.array)
    assert dicom.geometry.difference(nifti.geometry) is None
    assert dicom.modality == "CT"
    assert dicom.patient_id == "1"
