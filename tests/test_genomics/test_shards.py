"""A file that several processes share gives what one process gives, byte for byte."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from Bio import bgzf

from genomics.errors import CancelledError, InputError, RefMismatchError, VcfError
from genomics.report import VariantReport
from genomics.score import Scorer, score_vcf
from genomics.stream import ScoredPart, ScoreOptions, Watch
from genomics.synthetic import write_synthetic_case
from genomics.vcf import read_vcf
from genomics.vcf.parts import parts_by_sequence

COPIES = 4
_SHIFTED = str.maketrans("ACGT", "CGTA")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The synthetic case's only sequence four times over, as if it were four chromosomes."""
    folder = tmp_path_factory.mktemp("shards")
    one = write_synthetic_case(folder / "one", "P1")
    names = [f"demo{n}" for n in range(1, COPIES + 1)]
    sequence = one.fasta.read_text().split("\n", 1)[1]
    (folder / "genome.fa").write_text("".join(f">{name}\n{sequence}" for name in names))
    genes = one.gff3.read_text().splitlines()
    (folder / "genes.gff3").write_text(
        "##gff-version 3\n"
        + "".join(
            f"{row.replace('demo1', name).replace('DEMO', f'{name.upper()}G')}\n"
            for name in names
            for row in genes
            if not row.startswith("#")
        )
    )
    lines = one.vcf.read_text().splitlines()
    header = [line for line in lines if line.startswith("#") and "##contig" not in line]
    contigs = [f"##contig=<ID={name},length=24000>" for name in names]
    body = [
        line.replace("demo1\t", f"{name}\t", 1)
        for name in names
        for line in lines
        if not line.startswith("#")
    ]
    text = "\n".join([header[0], *contigs, *header[1:], *body]) + "\n"
    (folder / "plain.vcf").write_text(text)
    (folder / "gzip.vcf.gz").write_bytes(gzip.compress(text.encode()))
    with (folder / "bgzip.vcf.gz").open("wb") as stream:
        writer = bgzf.BgzfWriter(fileobj=stream)
        # Small blocks, so that chromosomes begin inside and at the start of some.
        for start in range(0, len(text), 700):
            writer.write(text[start : start + 700].encode())
            writer.flush()
        writer.close()
    return {
        "folder": folder,
        "reference": folder / "genome.fa",
        "genes": folder / "genes.gff3",
    }


def _score(
    case: dict[str, Path], vcf: str, out: Path | tuple[Path, ...], **more: object
) -> VariantReport:
    given = {"reference": case["reference"], "genes": case["genes"]}
    return score_vcf(case["folder"] / vcf, out=out, **given, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["plain.vcf", "gzip.vcf.gz", "bgzip.vcf.gz"])
@pytest.mark.parametrize("wanted", [1, 2, 50])
def test_the_parts_hold_every_record_once_and_in_order(
    case: dict[str, Path], name: str, wanted: int
) -> None:
    path = case["folder"] / name
    whole = list(read_vcf(path).records)
    parts = parts_by_sequence(path, wanted)
    assert len(parts) == min(wanted, COPIES)
    read = [list(read_vcf(path, part=part).records) for part in parts]
    assert [record for records in read for record in records] == whole
    sequences = [{record.chrom for record in records} for records in read]
    assert sum(map(len, sequences)) == COPIES


@pytest.mark.parametrize("chunk", [1, 2, 77, 4096])
def test_chunks_of_any_size_are_put_together(
    case: dict[str, Path], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = case["folder"] / "plain.vcf"
    expected = parts_by_sequence(path, COPIES)
    monkeypatch.setattr("genomics.vcf.parts._CHUNK_BYTES", chunk)
    found = parts_by_sequence(path, COPIES)
    assert [(p.first, p.last, p.offset + p.skip) for p in found] == [
        (p.first, p.last, p.offset + p.skip) for p in expected
    ]


def test_a_file_that_cannot_be_divided_is_left_whole(case: dict[str, Path], tmp_path: Path) -> None:
    text = (case["folder"] / "plain.vcf").read_text()
    first = next(line for line in text.splitlines() if line.startswith("demo1\t"))
    (tmp_path / "apart.vcf").write_text(text + first + "\n")
    whole = (case["folder"] / "bgzip.vcf.gz").read_bytes()
    (tmp_path / "cut.vcf.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.vcf").write_text(text[: text.index("demo1\t")])
    for name in ("apart.vcf", "cut.vcf.gz", "empty.vcf"):
        assert parts_by_sequence(tmp_path / name, 4) == []


@pytest.mark.parametrize("ending", ["tsv", "vcf", "vcf.gz"])
def test_two_processes_write_what_one_writes(
    case: dict[str, Path], tmp_path: Path, ending: str
) -> None:
    alone, shared = tmp_path / f"alone.{ending}", tmp_path / f"shared.{ending}"
    one = _score(case, "bgzip.vcf.gz", alone)
    two = _score(case, "bgzip.vcf.gz", shared, workers=2)
    assert shared.read_bytes() == alone.read_bytes()
    assert two.scored == one.scored
    assert two.ledger == one.ledger
    assert sorted(path.name for path in tmp_path.iterdir()) == [alone.name, shared.name]


def test_what_a_lenient_reader_lets_pass_is_added_up(case: dict[str, Path]) -> None:
    lines = (case["folder"] / "plain.vcf").read_text().splitlines()
    lines.insert(1, '##INFO=<Number=1,ID=ODD,Type=Integer,Description="ID is not first">')
    for name in ("demo1\t", "demo3\t", "demo4\t"):
        first = next(n for n, line in enumerate(lines) if line.startswith(name))
        lines.insert(first, lines[first])
    (case["folder"] / "lax.vcf").write_text("\n".join(lines) + "\n")
    with pytest.raises(VcfError, match="--lenient"):
        _score(case, "lax.vcf", (), workers=2)
    one, two = (_score(case, "lax.vcf", (), workers=n, lenient=True).run for n in (1, 2))
    assert two["deviations"] == one["deviations"]
    assert one["deviations"]["total"] == len(one["deviations"]["first"]) == 4
    assert two["records_read"] == one["records_read"]


def test_records_beside_the_reference_are_added_up_and_refused(
    case: dict[str, Path], tmp_path: Path
) -> None:
    """What the preflight, which looks at a part of a large file, did not see."""
    lines = case["reference"].read_text().splitlines()
    shifted = [line if line.startswith(">") else line.translate(_SHIFTED) for line in lines]
    (tmp_path / "other.fa").write_text("\n".join(shifted) + "\n")
    options = ScoreOptions(
        case["folder"] / "plain.vcf", reference=tmp_path / "other.fa", genes=case["genes"]
    )
    watch = Watch(lambda done, total: None, lambda: False, None)
    scorer, whole = Scorer.open(options), ScoredPart()
    for part in parts_by_sequence(options.vcf, COPIES):
        whole.extend(scorer.score_part(watch, part))
    alone = scorer.score_part(watch)
    assert whole.contradicting == alone.contradicting > whole.alleles / 2
    assert whole.contradiction == alone.contradiction
    with pytest.raises(RefMismatchError, match=r"\d+ of \d+ alleles: REF contradicts"):
        scorer.expect_matching_ref(whole)


def test_an_error_is_the_same_and_leaves_nothing(case: dict[str, Path], tmp_path: Path) -> None:
    lines = (case["folder"] / "plain.vcf").read_text().splitlines()
    broken = next(n for n, line in enumerate(lines) if line.startswith("demo3\t"))
    lines[broken] = lines[broken].replace("\t60\t", "\tsixty\t")
    (case["folder"] / "broken.vcf").write_text("\n".join(lines) + "\n")
    said = []
    for workers in (1, 2):
        with pytest.raises(VcfError, match="QUAL must be a number") as caught:
            _score(case, "broken.vcf", tmp_path / "out.tsv", workers=workers)
        said.append((str(caught.value), caught.value.line_number))
    assert said[0] == said[1] == (said[0][0], broken + 1)
    assert list(tmp_path.iterdir()) == []


def test_cancelling_stops_every_process(case: dict[str, Path], tmp_path: Path) -> None:
    answers = iter([False, False])
    with pytest.raises(CancelledError):
        _score(
            case,
            "plain.vcf",
            tmp_path / "out.tsv",
            workers=2,
            cancelled=lambda: next(answers, True),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def scheduler() -> Iterator[str]:
    distributed = pytest.importorskip("distributed", reason="Dask is the [cluster] extra")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
def test_a_dask_cluster_writes_what_one_process_writes(
    case: dict[str, Path], tmp_path: Path, scheduler: str
) -> None:
    alone, shared = tmp_path / "alone.vcf.gz", tmp_path / "shared.vcf.gz"
    one = _score(case, "gzip.vcf.gz", alone)
    many = _score(case, "gzip.vcf.gz", shared, cluster=scheduler)
    assert shared.read_bytes() == alone.read_bytes()
    assert many.ledger == one.ledger
    assert many.scored == one.scored


def test_a_cluster_that_is_not_there_is_refused(
    case: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="Dask is the [cluster] extra")
    monkeypatch.setattr("genomics.shards._SECONDS_TO_CONNECT", 1)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        _score(case, "plain.vcf", (), cluster="tcp://127.0.0.1:9")
