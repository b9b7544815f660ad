"""Every error that this package raises on purpose.

PrecimedError
├── InputError                  the user's input or options; exit code 2
│   ├── ReadError               a file that cannot be read, or not without guessing
│   │   └── SeriesChoiceError   several DICOM series, none chosen
│   ├── GeometryError           two images that do not share a grid, or a grid that is none
│   ├── PatientMismatchError    the scan of one patient, the genome of another
│   ├── ModelNotFoundError      a model name that does not exist
│   ├── BundleError             a model bundle that is broken or asks for too much
│   │   └── UntrustedBundleError  a bundle from elsewhere that wants to run code
│   ├── DatasetError            a data set for training or evaluation that does not fit
│   └── OutputError             a place that cannot be written
├── StoreError                  the database refused
├── SidecarError                the variant service died, failed or cannot be reached
│   └── SidecarUnavailableError   it cannot be started on this machine
└── CancelledError              the user pressed Cancel

A message names the offending value, what was expected, and the next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class PrecimedError(Exception):
    """Base of all errors raised on purpose by napari-precimed."""


class InputError(PrecimedError):
    """The input or the options are wrong; the message says what and how to mend it."""


class ReadError(InputError):
    """A file that cannot be read, or not without guessing."""


class SeriesChoiceError(ReadError):
    """Several DICOM series were found and none was chosen.

    Parameters
    ----------
    message : str
        What the user reads.
    series : sequence
        The series found, in the order listed to the user
        (``napari_precimed.io.dicom.SeriesSummary``).
    """

    def __init__(self, message: str, series: Sequence[Any]) -> None:
        super().__init__(message)
        self.series = tuple(series)


class GeometryError(InputError):
    """Two images that do not share a grid, or a transform that describes none."""


class PatientMismatchError(InputError):
    """The scan belongs to one patient and the genome to another.

    Parameters
    ----------
    patient_id : str or None
        The patient of the scan.
    sample_id : str or None
        The sample named in the VCF; None where it has no samples, or several.
    samples : sequence of str
        All samples of a VCF that has several, of which none has the patient's id.
    """

    def __init__(
        self, patient_id: str | None, sample_id: str | None, samples: Sequence[str] = ()
    ) -> None:
        scan = f"patient '{patient_id}'" if patient_id else "a patient without an id"
        if samples:
            none = ": none has that id" if patient_id else ""
            variants = f"the VCF's samples are {', '.join(samples)}{none}."
            mend = "--sample ID says which of them is the same person"
        elif sample_id:
            variants = f"the variants are of sample '{sample_id}'."
            mend = (
                "If they are the same person, say so explicitly (--sample ID on the command line, "
                "Map in the window)"
            )
        else:
            variants = "the VCF has no sample columns, so it names nobody."
            mend = (
                f"If it is of the same person, say so explicitly (--sample {patient_id or 'ID'} on "
                "the command line, Map in the window)"
            )
        super().__init__(f"The scan is of {scan}; {variants} {mend}; the mapping is recorded.")
        self.patient_id = patient_id
        self.sample_id = sample_id
        self.samples = tuple(samples)


class ModelNotFoundError(InputError):
    """A model name that the catalogue does not hold."""


class BundleError(InputError):
    """A model bundle that is broken, or that asks for more than it may."""


class UntrustedBundleError(BundleError):
    """A bundle from elsewhere that wants to run code, or to name what it may not.

    Parameters
    ----------
    name : str
        The bundle's.
    wishes : sequence of str
        What it wants, each in its own words.
    """

    def __init__(self, name: str, wishes: Sequence[str]) -> None:
        super().__init__(
            f"The bundle '{name}' wants to run code: {', '.join(wishes)}. Without trust, only "
            "networks, transforms and inferers of MONAI and torch.nn run. If you know where the "
            "bundle comes from: --trust."
        )
        self.wishes = tuple(wishes)


class DatasetError(InputError):
    """A data set for training or evaluation that does not have the expected form."""


class OutputError(InputError):
    """A file or folder that cannot be written."""


class StoreError(PrecimedError):
    """The case database refused to read or write."""


class SidecarError(PrecimedError):
    """The variant service died, failed or cannot be reached; nothing was changed by it."""


class SidecarUnavailableError(SidecarError):
    """The variant service cannot be started on this machine."""


class CancelledError(PrecimedError):
    """The user cancelled the work; nothing was changed."""
