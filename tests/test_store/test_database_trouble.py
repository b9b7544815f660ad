"""A database that refuses says which and what to do; a save that dies loses nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from napari_precimed.core.patient import Case, Patient
from napari_precimed.errors import StoreError
from napari_precimed.store import CaseStore, cases


def _database(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///").partition("?")[0])


def test_a_save_that_fails_midway_leaves_the_earlier_state(store, case: Case) -> None:
    class HalfReport:
        """A report whose rows run out of luck after the case has been written."""

        sample_id, scored = case.variants.sample_id, case.variants.scored

        def to_json(self) -> str:
            raise RuntimeError("power cut")

    store.save(case)
    with pytest.raises(RuntimeError, match="power cut"):
        store.save(replace(case, lesion_sets=(), variants=HalfReport()))
    assert store.load(case.id).variants == case.variants
    assert len(store.load(case.id).lesion_sets[0]) == 3


def test_notes_that_are_no_json_are_refused_and_nothing_is_lost(store, case: Case) -> None:
    store.save(case)
    with pytest.raises(StoreError, match="no JSON value"):
        store.save(replace(case, notes={"when": object()}))
    assert dict(store.load(case.id).notes) == {"reader": "AB"}


def test_a_killed_program_leaves_the_earlier_state(store, url: str) -> None:
    store.save(Case(Patient("P-09"), id="c", notes={"state": "before"}))
    store.close()
    program = f"""
        import os
        from napari_precimed.core.patient import Case, Patient
        from napari_precimed.store import CaseStore, cases

        insert = cases._insert
        def die(session, case):
            insert(session, case)
            os._exit(9)
        cases._insert = die
        CaseStore({url!r}).save(Case(Patient("P-09"), id="c", notes={{"state": "half"}}))
    """
    root = Path(cases.__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    died = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=120,
    )
    assert died.returncode == 9, died.stderr.decode()
    assert dict(CaseStore(url).load("c").notes) == {"state": "before"}


def test_a_newer_schema_is_refused(store, url: str, case: Case) -> None:
    store.save(case)
    with sqlite3.connect(_database(url)) as connection:
        connection.execute("update precimed_schema set version = 99")
    with pytest.raises(StoreError, match=r"cases\.sqlite.*version 99.*update napari-precimed"):
        CaseStore(url)


def test_the_tables_of_an_earlier_release_are_brought_up_to_date(
    store, url: str, case: Case
) -> None:
    store.save(case)
    store.close()
    with sqlite3.connect(_database(url)) as connection:
        connection.execute("alter table precimed_lesion_set drop column source_path")
        connection.execute("alter table precimed_lesion drop column attributes")
        connection.execute("update precimed_schema set version = 1")
    back = CaseStore(url).load(case.id)
    assert [lesion.attributes for lesion in back.lesions_of(back.volumes[0])] == [None] * 3
    CaseStore(url).save(case)
    again = CaseStore(url).load(case.id)
    assert again.lesion_sets[0].lesions[0].attributes == {"spiculation": 3.4, "calcification": 5.9}


def test_a_locked_database_is_named_with_the_mend(store, url: str, case: Case) -> None:
    other = sqlite3.connect(_database(url), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StoreError, match=r"cases\.sqlite.*another program"):
            store.save(case)
    finally:
        other.close()
    store.save(case)


def test_reading_goes_on_while_another_program_writes(store, url: str, case: Case) -> None:
    store.save(case)
    other = sqlite3.connect(_database(url), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert len(store.summaries()) == 1
    finally:
        other.close()


@pytest.mark.parametrize("content", [b"I am a text, and no database at all. " * 40, b"x"])
def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"notes\.txt"):
        CaseStore(f"sqlite:///{path.as_posix()}")
    assert path.read_bytes() == content


def test_a_damaged_database_is_refused(store, url: str, case: Case) -> None:
    store.save(case)
    store.close()
    path = _database(url)
    content = bytearray(path.read_bytes())
    content[2000:] = b"\xff" * (len(content) - 2000)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"cases\.sqlite"):
        CaseStore(url).load(case.id)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match=r"taken.*PRECIMED_DATABASE"):
        CaseStore(f"sqlite:///{(tmp_path / 'taken' / 'cases.sqlite').as_posix()}")


@pytest.mark.skipif(os.name == "nt", reason="folders of Windows are not read-only")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"cases\.sqlite.*PRECIMED_DATABASE"):
        CaseStore(f"sqlite:///{(tmp_path / 'cases.sqlite').as_posix()}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("cases.sqlite", "not the URL of a database"),
        ("nosuchdb://user:secret@host/cases", "host/cases"),
        ("oracle+oracledb://user:secret@host/cases", "driver"),
    ],
)
def test_a_url_that_cannot_be_opened_is_named_without_its_password(url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as refused:
        CaseStore(url)
    assert "secret" not in str(refused.value)


def test_the_environment_names_the_database(monkeypatch, tmp_path: Path, case: Case) -> None:
    monkeypatch.setenv("PRECIMED_DATABASE", f"sqlite:///{(tmp_path / 'mine.db').as_posix()}")
    CaseStore().save(case)
    assert (tmp_path / "mine.db").is_file()
    assert CaseStore().location == (tmp_path / "mine.db").as_posix()


def test_two_threads_may_save_at_once(url: str, case: Case) -> None:
    patient = url.replace("timeout=0.2", "timeout=20")
    store = CaseStore(patient)
    trouble: list[Exception] = []

    def save(number: int) -> None:
        try:
            for _ in range(3):
                store.save(replace(case, id=f"case-{number}"))
        except Exception as error:
            trouble.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    assert {each.id for each in store.summaries()} == {f"case-{n}" for n in range(4)}
    store.close()


def test_postgresql_keeps_a_case_too(case: Case) -> None:
    url = os.environ.get("PRECIMED_TEST_POSTGRESQL")
    if not url:
        pytest.skip("needs a PostgreSQL server: set PRECIMED_TEST_POSTGRESQL to its URL")
    store = CaseStore(url)
    store.save(case)
    try:
        back = store.load(case.id)
        assert back.lesion_sets[0].lesions == case.lesion_sets[0].lesions
        assert back.variants == case.variants
    finally:
        store.delete(case.id)
        store.close()
