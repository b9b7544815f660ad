"""DICOM series: which there are, and one of them as a volume.

A series is read only where its slices form one regular grid; everything else is refused with the
reason (`dicom_stack` holds those checks). PS3.3 C.7.6.2 (Image Plane) gives the geometry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from napari_precimed.core.volume import Source, Volume
from napari_precimed.errors import ReadError, SeriesChoiceError
from napari_precimed.io.dicom_header import (
    first_line,
    is_dicom,
    is_image,
    looks_like_dicom,
    number,
    read_header,
    text,
)
from napari_precimed.io.dicom_stack import Slice, regular_stack
from napari_precimed.io.intensity import refuse_non_finite, rescaled

__all__ = ["SeriesSummary", "is_dicom", "list_series", "read_series"]

_LOSSY = {
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203",
}  # fmt: skip


@dataclass(frozen=True)
class SeriesSummary:
    """What a person needs to choose a series.

    Attributes
    ----------
    series_uid : str
    description, modality, patient_id, study_uid, study_date : str or None
    n_slices : int
    spacing_mm : tuple of float or None
        (z, y, x) of the slices as acquired; None where they form no regular grid.
    number : int or None
        SeriesNumber.
    """

    series_uid: str
    description: str | None
    modality: str | None
    n_slices: int
    patient_id: str | None
    study_uid: str | None
    study_date: str | None
    spacing_mm: tuple[float, float, float] | None
    number: int | None

    def __str__(self) -> str:
        number = "-" if self.number is None else self.number
        what = self.description or "no description"
        whose = f"patient {self.patient_id}" if self.patient_id else "no patient id"
        facts = [f"{self.modality}", f"{self.n_slices} slices", whose, self.study_date or "no date"]
        return f"{number}: {what} ({', '.join(facts)}) {self.series_uid}"


def list_series(folder: str | Path) -> list[SeriesSummary]:
    """The image series in a folder and its subfolders, by series number.

    Raises
    ------
    ReadError
        If there is none, or a DICOM file is damaged.
    """
    found, _ = _scan(Path(folder))
    return [_summary(slices) for slices in found]


def read_series(path: str | Path, *, series: str | None = None) -> Volume:
    """Read one series.

    Parameters
    ----------
    path : str or Path
        A folder, searched with its subfolders, or one file, whose series is then read from its
        folder.
    series : str, optional
        SeriesInstanceUID or SeriesNumber.

    Raises
    ------
    SeriesChoiceError
        If there are several series and none was chosen.
    ReadError
        If the slices are not one regular grid of one patient, or cannot be decoded.
    """
    path = Path(path)
    if path.is_file() and series is None:
        series = text(read_header(path), "SeriesInstanceUID")
    folder = path.parent if path.is_file() else path
    found, notes = _scan(folder, deep=path.is_dir())
    slices = _chosen(found, series, folder)
    stack = regular_stack(slices)
    array, pixel_notes = _pixels(stack.slices)
    refuse_non_finite(array, str(path))
    order = stack.geometry.canonical_order()
    first = stack.slices[0].header
    return Volume(
        array=np.ascontiguousarray(order.apply(array)),
        geometry=stack.geometry.reordered(order),
        modality=text(first, "Modality"),
        patient_id=text(first, "PatientID"),
        study_uid=text(first, "StudyInstanceUID"),
        series_uid=text(first, "SeriesInstanceUID"),
        source=Source(str(path), "DICOM", order, (*notes, *stack.notes, *pixel_notes)),
        series_description=text(first, "SeriesDescription"),
        study_date=text(first, "StudyDate"),
    )


def _scan(folder: Path, *, deep: bool = True) -> tuple[list[list[Slice]], tuple[str, ...]]:
    """The image series of a folder, by number; and what else lay there."""
    if not folder.is_dir():
        raise ReadError(f"There is no folder {folder}; check the path.")
    files = sorted(p for p in (folder.rglob("*") if deep else folder.iterdir()) if p.is_file())
    files = [p for p in files if not p.name.startswith(".") and p.name != "DICOMDIR"]
    if not files:
        raise ReadError(f"The folder {folder} is empty; give one that holds a scan.")
    series: dict[str, list[Slice]] = {}
    others: Counter[str] = Counter()
    for file in files:
        header = read_header(file) if looks_like_dicom(file) else None
        if header is None:
            others["non-DICOM"] += 1
        elif not is_image(header, file):
            others[text(header, "Modality") or "unnamed"] += 1
        else:
            uid = text(header, "SeriesInstanceUID") or "no SeriesInstanceUID"
            series.setdefault(uid, []).append(Slice(file, header))
    listed = ", ".join(f"{n} {kind}" for kind, n in sorted(others.items()))
    if not series:
        raise ReadError(f"{folder} holds no DICOM image (only files that are {listed}).")
    notes = (f"Not part of the image and left out: {listed} file(s).",) if others else ()
    return sorted(series.values(), key=_series_order), notes


def _chosen(found: Sequence[list[Slice]], series: str | None, folder: Path) -> list[Slice]:
    if series is None:
        if len(found) == 1:
            return found[0]
        summaries = [_summary(slices) for slices in found]
        lines = "\n".join(f"  {summary}" for summary in summaries)
        patients = list(dict.fromkeys(each.patient_id or "one without an id" for each in summaries))
        whose = f" of {len(patients)} patients ({', '.join(patients)})" if len(patients) > 1 else ""
        raise SeriesChoiceError(
            f"{folder} holds {len(found)} series{whose}; choose one by its number or UID "
            f"(--series):\n{lines}",
            summaries,
        )
    for key in ("SeriesInstanceUID", "SeriesNumber"):
        hits = [slices for slices in found if text(slices[0].header, key) == series]
        if len(hits) == 1:
            return hits[0]
    known = "; ".join(str(_summary(slices)) for slices in found)
    raise ReadError(f"No single series '{series}' in {folder}. It holds {known}.")


def _summary(slices: list[Slice]) -> SeriesSummary:
    first = slices[0].header
    try:
        spacing = regular_stack(slices).geometry.spacing_mm
    except ReadError:
        spacing = None
    series_number = text(first, "SeriesNumber")
    return SeriesSummary(
        series_uid=text(first, "SeriesInstanceUID") or "",
        description=text(first, "SeriesDescription"),
        modality=text(first, "Modality"),
        n_slices=sum(int(s.header.get("NumberOfFrames") or 1) for s in slices),
        patient_id=text(first, "PatientID"),
        study_uid=text(first, "StudyInstanceUID"),
        study_date=text(first, "StudyDate"),
        spacing_mm=spacing,
        number=int(series_number) if series_number else None,
    )


def _series_order(slices: list[Slice]) -> tuple[int, str]:
    number = text(slices[0].header, "SeriesNumber")
    return int(number or 0), text(slices[0].header, "SeriesInstanceUID") or ""


def _pixels(slices: Sequence[Slice]) -> tuple[NDArray, list[str]]:
    """The rescaled grey values, shape (slice, row, column), and what to know about them."""
    first = slices[0].header
    scales = {(number(s.header, "RescaleSlope", 1), number(s.header, "RescaleIntercept", 0))
              for s in slices}  # fmt: skip
    notes = []
    if len(scales) > 1:
        notes.append("The rescale slope or intercept differs from slice to slice; each was used.")
    if first.get("Modality") == "CT" and "RescaleIntercept" not in first:
        notes.append("The CT has no rescale intercept: its values may not be Hounsfield units.")
    if {str(s.header.file_meta.TransferSyntaxUID) for s in slices} & _LOSSY or (
        text(first, "LossyImageCompression") == "01"
    ):
        notes.append("The slices were compressed with loss.")
    stored = [_decoded(one) for one in slices]
    if len(scales) == 1:
        return rescaled(np.stack(stored), *scales.pop()), notes
    planes = [
        plane * number(s.header, "RescaleSlope", 1) + number(s.header, "RescaleIntercept", 0)
        for plane, s in zip(stored, slices, strict=True)
    ]
    return np.stack(planes).astype(np.float32), notes


def _decoded(one: Slice) -> NDArray:
    syntax = UID(one.header.file_meta.TransferSyntaxUID)
    if syntax.is_compressed and not syntax.is_deflated:
        _refuse_unless_decodable(syntax, one.path)
    try:
        plane = pydicom.dcmread(one.path).pixel_array
    except Exception as error:  # decoders raise what they like; the file is at fault in each case
        raise ReadError(
            f"The pixels of {one.path} cannot be decoded ({first_line(error)}); the file "
            "is truncated or damaged. Export the series again."
        ) from error
    expected = (int(one.header.Rows), int(one.header.Columns))
    if plane.shape != expected:
        raise ReadError(f"{one.path} holds an image of {plane.shape}, its header says {expected}.")
    return plane


def _refuse_unless_decodable(syntax: UID, path: Path) -> None:
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise ReadError(
            f"{path} is compressed as {syntax.name} ({syntax}), for which no decoder is installed. "
            'Install the decoders: pip install "napari-precimed[codecs]"'
        )
