"""What can go wrong in ``genomics``, as one tree.

::

    GenomicsError
    ├── InputError                the user can mend it: exit code 2
    │   ├── VcfError              the VCF breaks a rule of its specification, on a given line
    │   │   └── VcfOrderError         its records are not sorted
    │   ├── MixtureError          one file mixes genome builds or ways of naming chromosomes
    │   ├── SampleError           the sample asked for is not in the VCF, or must be chosen
    │   ├── ReferenceGenomeError  the FASTA cannot be read, or lacks a sequence
    │   │   ├── BuildMismatchError    VCF and reference are on different builds
    │   │   └── RefMismatchError      REF contradicts the reference's bases
    │   ├── GenesError            the GFF3 cannot be used
    │   ├── ModelError            no such model, or its folder is damaged
    │   ├── TableError            a training or evaluation table is not in the documented format
    │   ├── ReportFormatError     a stored report cannot be read back
    │   ├── VariantNameError      a variant on the command line is not written as one
    │   ├── ExplanationError      there is no score to explain, or the network cannot be explained
    │   └── OutputError           the result cannot be written there
    ├── ServiceError              the service (``python -m genomics serve``) refuses a request
    │   ├── BusyError             it holds as much as it may; ask again later
    │   ├── UnknownJobError       there is no such job (any more)
    │   └── JobStateError         the job is not where it would have to be
    ├── ClusterError              a process that shared the work ended before its work did
    └── CancelledError            the caller asked to stop
"""

from __future__ import annotations


class GenomicsError(Exception):
    """Anything that ``genomics`` refuses or fails at; the message is one readable line."""


class InputError(GenomicsError):
    """The input or the options are wrong; the message says how to mend them."""


class VcfError(InputError):
    """A VCF file breaks a rule of the VCF specification.

    Parameters
    ----------
    path : object
        The file, as the user named it.
    line_number : int or None
        The offending line, counted from 1; None where the whole file is at fault.
    rule : str
        What was expected, what was found and the next step.
    """

    def __init__(self, path: object, line_number: int | None, rule: str) -> None:
        where = f"{path}" if line_number is None else f"{path}, line {line_number}"
        super().__init__(f"{where}: {rule}")
        self.path, self.line_number, self.rule = path, line_number, rule

    def __reduce__(self) -> tuple[type[VcfError], tuple[object, int | None, str]]:
        # Exceptions are sent from process to process by their message alone unless told otherwise.
        return type(self), (self.path, self.line_number, self.rule)


class VcfOrderError(VcfError):
    """The records of a VCF do not stand by sequence, or not by position within one."""


class MixtureError(InputError):
    """One VCF mixes what cannot be one genome: builds, or ways of naming chromosomes."""


class SampleError(InputError):
    """The sample asked for is not in the VCF, or several are there and none was chosen."""


class ReferenceGenomeError(InputError):
    """The reference FASTA cannot be read, or lacks a sequence that is needed."""


class BuildMismatchError(ReferenceGenomeError):
    """The VCF and the reference are on different genome builds."""


class RefMismatchError(ReferenceGenomeError):
    """The REF allele of a record contradicts the reference's bases at its position."""


class GenesError(InputError):
    """The gene file (GFF3) cannot be read or holds no usable transcript."""


class ModelError(InputError):
    """No such built-in model, or its folder is damaged."""


class TableError(InputError):
    """A table of labelled variants is not in the documented format."""


class ReportFormatError(InputError):
    """A stored variant report cannot be read back."""


class VariantNameError(InputError):
    """A variant on the command line is not written as one."""


class ExplanationError(InputError):
    """There is no score to explain, or the network cannot be explained."""


class OutputError(InputError):
    """The result cannot be written where it was asked for."""


class ServiceError(GenomicsError):
    """The service refuses a request."""


class BusyError(ServiceError):
    """The service holds as many jobs or bytes as it may.

    Parameters
    ----------
    message : str
    retry_after : int
        Seconds after which asking again is worth it.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownJobError(ServiceError):
    """There is no job of this id, or none any more."""


class JobStateError(ServiceError):
    """The job has not come so far, or is past that."""


class ClusterError(GenomicsError):
    """A process that shared the work ended before its work did."""


class CancelledError(GenomicsError):
    """The caller asked to stop; nothing was written."""
