"""Every file of the specification's own test set: read, or refused by the right line and rule."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from genomics.errors import VcfError
from genomics.vcf import alleles, read_vcf

_ROOT = Path(__file__).resolve().parents[2]
_DATA = Path(os.environ.get("PRECIMED_DATA") or _ROOT.parent / "shared" / "data")
_SPECIFICATION = _DATA / "genomics/vcf/hts-specs/vcf"
PASSED = sorted(_SPECIFICATION.glob("*/passed/*.vcf"))
FAILED = sorted(_SPECIFICATION.glob("*/failed/*.vcf"))

# What each file says it breaks, and how the refusal must speak of it. The first match counts.
_RULES = (
    (r"(INFO|FORMAT) (\w+) (Number|Type) is not", r"##{0} ID={1}: {2} must be .*; found"),
    (r"INFO (\w+) is a negative number", r"INFO {0} must not be negative"),
    (r"INFO (\w+) is a floating point number", r"INFO {0} must be a whole number"),
    (r"INFO (A[CN]|DP|END) is not a number", r"INFO {0} must be a whole number"),
    (r"INFO (AF|BQ) is not a number", r"INFO {0} must be a number"),
    (r"INFO (\w+) value is not a flag", r"INFO {0} is a flag"),
    (r"INFO AA contains a comma", r"INFO AA must have 1 value; found 2"),
    (r"INFO CIGAR", r"INFO CIGAR must be operations"),
    (r"INFO contains a whitespace", r"white space"),
    (r"INFO contains duplicate keys", r"INFO has AA twice"),
    (r"INFO integer", r"INFO INT must be from -2147483640 to 2147483647"),
    (r"INFO field does not match Number", r"INFO MY (must have|is a flag)"),
    (r"INFO field does not match Type", r"INFO MY must be"),
    (r"Sample field does not match Number", r"(INFO MY|DS|AL) must have \d values?"),
    (r"Sample field does not match Type", r"DS must be (a number|a whole number|one character)"),
    (r"cardinality in PL", r"PL must have \d values? \(Number=G\)"),
    (r"Incorrect (INFO|FORMAT|ALT) Number", r"##{0} ID=\w+: Number"),
    (r"Incorrect (INFO|FORMAT|ALT) Type", r"##{0} ID=\w+: Type"),
    (r"Incorrect META", r"##META ID=Assay: (Number|Type)"),
    (r"Incorrect order of ALT", r"Number must stand before Type"),
    (r"Incorrect order of (\w+)", r"##{0} must begin with ID"),
    (r"Incorrect ALT ID", r"##ALT ID=DEL1: a subtype"),
    (r"Description must be surrounded", r"Description must stand in double quotes"),
    (r"META Values", r"Values must stand in square brackets"),
    (r"Description contains non-escaped quotes", r"expected a comma before"),
    (r"Description contains a linebreak|Non-closed meta entry", r"must be followed by <key=value"),
    (r"without quotation mark at the end", r"a quoted value is not closed"),
    (r"Non-valid URL", r"not the name of a host"),
    (r"Meta-data entry is not a key-value pair", r"##key=value|not the name of a host|a URL"),
    (r"Non-valid meta entry key|Unstructured meta", r"expected a ## line"),
    (r"(contig|SAMPLE|PEDIGREE) ID (is )?missing", r"##{0} needs an ID"),
    (r"Genomes field missing", r"Mixture needs Genomes"),
    (r"Non-description field containing quotes", r"only Description stands in quotes"),
    (r"Genome ID|Value with", r"##PEDIGREE \w+: a name is"),
    (r"Original value", r"expected key=value inside <...>; found 'thing'"),
    (r"The ALT prefix", r"the type before the first ':'"),
    (r"The ALT ID contains an? (opening|closing) angle", r"##ALT: an ID has no '<', '>'"),
    (r"(ALT|contig|SAMPLE) ID contains a comma", r"expected key=value inside|CHROM must be"),
    (r"(ALT|contig|SAMPLE) ID contains a whitespace", r"an ID has no white space|CHROM must be"),
    (r"contig ID contains a colon", r"CHROM must not hold a colon"),
    (r"contig ID contains illegal", r"must not hold '\*'"),
    (r"SAMPLE ID contains illegal", r"##SAMPLE: an ID has no white space, ',', '\*'"),
    (r"contig ID contains an angle bracket", r"CHROM must be a sequence name"),
    (r"Breakend without bases", r"a breakend needs bases on one side"),
    (r"ALT has|ALT makes|Symbolic ALT", r"ALT must be bases"),
    (r"REF", r"REF must be bases"),
    (r"QUAL is a negative", r"QUAL must not be negative"),
    (r"QUAL is not", r"QUAL must be a number"),
    (r"Position is not", r"POS must be a whole number"),
    (r"ID contains duplicate", r"ID names one identifier twice"),
    (r"ID (has|begins|ends)", r"ID must be names joined by ';'"),
    (r"FILTER contains missing", r"FILTER cannot be '\.' and something else"),
    (r"FILTER contains duplicate", r"FILTER names one filter twice"),
    (r"FILTER contains reserved", r"FILTER must not be '0'"),
    (r"FILTER", r"FILTER must be names joined by ';'"),
    (r"Sample contains more fields", r"more values than FORMAT has keys"),
    (r"FORMAT first field is not GT", r"GT must be the first key"),
    (r"FORMAT contains duplicate", r"FORMAT names a key twice"),
    (r"FORMAT predefined tag GT", r"GT must be numbers joined"),
    (r"FORMAT", r"FORMAT keys are letters"),
    (r"Sample names are not unique", r"stands twice in the column line"),
    (r"Sample allele is out of range", r"GT '0/3' names allele 3; there are 2 ALT"),
    (r"Sample (genotype|first field)", r"GT must be numbers joined"),
    (r"duplicated variant|triplicated variant", r"was already stated in line"),
    (r"non-contiguous chromosome (\d)", r"records of {0} stand apart"),
    (r"non-sorted", r"position 500 comes after 1400"),
    (r"no newline", r"the last line has no line end"),
    (r"Empty fileformat|Whitespace in fileformat", r"version"),
)
_WITHOUT_CAUSE = {
    "failed_header_000": (2, "the column line must begin with"),
    "failed_header_001": (2, "FORMAT must be followed by at least one sample"),
    "failed_empty": (1, "not a VCF"),
    "failed_empty_sample": (1, "not a VCF"),
}
# These break another rule further up than the one that they are named for.
_EARLIER = {
    "failed_body_contiguous_000": r"INFO AC must have 2 values",
    "failed_body_contiguous_001": r"INFO AC must have 2 values",
    "failed_body_unsorted_000": r"INFO AC must have 2 values",
    "failed_body_duplicated_002": r"INFO AC must have 2 values",
}


def _offending_line(lines: list[str], cause: str, stem: str) -> int:
    """Return the line that breaks the rule, found without the reader."""
    header = next(n for n, line in enumerate(lines, 1) if line.startswith("#CHROM"))
    stated = next(n for n, line in enumerate(lines, 1) if "CauseOfFailure" in line)
    if "fileformat" in cause:
        return 1
    if "Sample names" in cause:
        return header
    if "no newline" in cause:
        return len(lines)
    if stem.startswith("failed_meta"):
        return stated + 1
    several = {
        "failed_body_duplicated_000": 1,
        "failed_body_duplicated_001": 2,
        "failed_body_duplicated_003": 1,
        "failed_body_contiguous_000": 1,
        "failed_body_contiguous_001": 1,
        "failed_body_unsorted_000": 1,
        "failed_body_info_036": 1,
        "failed_body_format_007": 4,
    }
    return header + 1 + several.get(stem, 0)


def _named(path: Path) -> str:
    return f"{path.parts[-3]}-{path.stem}"


def test_the_whole_set_of_the_specification_is_at_hand() -> None:
    if not _SPECIFICATION.is_dir():
        pytest.skip("needs the shared data: set PRECIMED_DATA to its folder")
    assert (len(PASSED), len(FAILED)) == (76, 607)


@pytest.mark.data
@pytest.mark.parametrize("path", PASSED, ids=_named)
def test_a_passed_file_reads(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    records = list(read_vcf(path).records)
    assert len(records) == sum(not line.startswith("#") for line in lines)
    assert all(alleles(record, None) for record in records)


@pytest.mark.data
@pytest.mark.parametrize("path", FAILED, ids=_named)
def test_a_failed_file_is_refused_by_its_line_and_rule(path: Path) -> None:
    with pytest.raises(VcfError) as refused:
        list(read_vcf(path).records)
    if path.stem in _WITHOUT_CAUSE:
        line, rule = _WITHOUT_CAUSE[path.stem]
    else:
        text = path.read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines()
        cause = re.search(r"##CauseOfFailure=(.*)", text)
        assert cause
        line = _offending_line(lines, cause[1], path.stem)
        rule = _EARLIER.get(path.stem) or _rule_of(cause[1])
    assert re.search(rule, refused.value.rule), refused.value.rule
    assert refused.value.line_number == line, refused.value.rule


def _rule_of(cause: str) -> str:
    for pattern, rule in _RULES:
        found = re.search(pattern, cause)
        if found:
            return rule.format(*found.groups())
    raise AssertionError(f"the test knows no rule for: {cause}")
