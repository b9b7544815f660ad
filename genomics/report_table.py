"""A report's table, read back from TSV so that it can be written again without a change."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from genomics.errors import ReportFormatError
from genomics.report import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_INTEGERS = ("position", "allele_index", "line")
_FLOATS = ("score", "doubt")


def read_table(text: str) -> pd.DataFrame:
    """Read the table that :meth:`~genomics.report.VariantReport.to_tsv` wrote.

    Returns
    -------
    DataFrame
        One row per allele; unknown values are missing, never 0 or "".

    Raises
    ------
    ReportFormatError
        The text is not such a table.
    """
    import pandas as pd

    try:
        table = pd.read_csv(
            io.StringIO(text), sep="\t", dtype="string", keep_default_na=False, na_values=[""]
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ReportFormatError(f"not a table of scored variants ({error})") from error
    if list(table.columns) != list(COLUMNS):
        raise ReportFormatError(
            f"not a table of scored variants: its columns are {', '.join(table.columns)[:200]}; "
            "score the VCF again"
        )
    for name in _INTEGERS:
        table[name] = table[name].astype("Int64")
    for name in _FLOATS:
        # Not by pandas' own parser, which may miss the last digit.
        table[name] = [float("nan") if pd.isna(each) else float(each) for each in table[name]]
    return table


def write_table(table: pd.DataFrame) -> str:
    """Return a table as tab-separated text; unknown values are empty."""
    return str(table.to_csv(sep="\t", index=False, lineterminator="\n"))
