"""Patients' cases in a database: the only writer of patient records.

`CaseStore` is the door; `tables` is what the database looks like, `rows` turns a case into rows and
back, `scans` reopens the scans that a case refers to, `database` opens the engine and words its
errors.
"""

from napari_precimed.store.cases import CaseStore, CaseSummary

__all__ = ["CaseStore", "CaseSummary"]
