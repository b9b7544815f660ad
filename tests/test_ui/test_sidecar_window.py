"""The window and its variant service: it may be killed at any moment, and the window answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from heartbeat import Heartbeat, longest_pause_when_idle
from napari import Viewer
from napari.settings import get_plugin_settings
from napari.utils.notifications import notification_manager
from running_service import long_vcf, running
from socket_watch import Watch
from ui_scans import small_scan

import napari_precimed
from genomics.synthetic import SyntheticCase, write_synthetic_case
from napari_precimed.sidecar import child
from napari_precimed.sidecar.child import local
from napari_precimed.ui.desk import PATIENT, PLUGIN
from napari_precimed.ui.layers import image_layer
from napari_precimed.ui.session import Session
from napari_precimed.ui.variant_panel import VariantPanel

pytestmark = pytest.mark.gui

MANIFEST = Path(napari_precimed.__file__).parent / "napari.yaml"
WINDOW = """
import time
from pathlib import Path
import napari
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QApplication
PluginManager.instance().register(PluginManifest.from_file({manifest!r}))
viewer = napari.Viewer(show=False)
dock, widget = viewer.window.add_plugin_dock_widget("napari-precimed", "Patient and variants")
vcf, fasta, genes = map(Path, {case})
widget.variants.reference.choose(fasta)
widget.variants.genes.choose(genes)
from napari_precimed.ui.session import Session
widget.variants.load_vcf(vcf)
session, ends = Session.of(viewer), time.monotonic() + 200
while (widget.variants.progress.running or session.saver.busy) and time.monotonic() < ends:
    QApplication.processEvents()
    time.sleep(0.01)
print("scored", session.case.variants.sample_id)
viewer.close()
"""


@pytest.fixture
def case(tmp_path: Path) -> SyntheticCase:
    return write_synthetic_case(tmp_path, "P-1")


@pytest.fixture
def shown() -> list[str]:
    messages: list[str] = []
    notification_manager.notification_ready.connect(lambda n: messages.append(n.message))
    return messages


@pytest.fixture
def panel(viewer: Viewer, case: SyntheticCase, wait: Callable) -> Iterator[VariantPanel]:
    """The variants of the open patient P-1, with the reference and genes chosen."""
    from napari.layers import Layer

    widget = viewer.window.add_plugin_dock_widget(PLUGIN, PATIENT)[1].variants
    viewer.add_layer(Layer.create(*image_layer(small_scan("P-1"))))
    widget.reference.choose(case.fasta)
    widget.genes.choose(case.gff3)
    yield widget
    wait(lambda: not Session.of(viewer).saver.busy)


@pytest.fixture
def settings(viewer: Viewer) -> Iterator[Any]:
    """The settings of the variant service, as they were afterwards."""
    chosen = get_plugin_settings("napari-precimed").variant_service
    yield chosen
    chosen.url = chosen.token_file = chosen.ca_file = ""


def kill_service() -> int:
    pid = local.pid
    assert pid is not None
    psutil.Process(pid).kill()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=1)
    return pid


def load(panel: VariantPanel, vcf: Path, wait: Callable) -> None:
    panel.load_vcf(vcf)
    assert panel.progress.running
    wait(lambda: not panel.progress.running, 240)


def test_the_service_is_killed_before_during_and_after_a_job(
    viewer: Viewer,
    panel: VariantPanel,
    case: SyntheticCase,
    tmp_path: Path,
    shown: list[str],
    wait: Callable,
) -> None:
    session = Session.of(viewer)
    load(panel, case.vcf, wait)
    before = kill_service()
    load(panel, case.vcf, wait)  # killed before: the next job starts another, and nobody notices
    assert local.pid != before
    assert shown == []
    report = session.case.variants

    idle_s = longest_pause_when_idle()
    heart = Heartbeat()
    panel.load_vcf(long_vcf(case, tmp_path / "long.vcf"))
    wait(lambda: panel.progress.bar.value() > 0, 240)
    kill_service()
    killed = time.monotonic()
    wait(lambda: not panel.progress.running, 30)
    assert time.monotonic() - killed < 15
    heart.stop()
    # Waiting for a process or an answer on the GUI thread would take seconds; drawing does not.
    assert heart.longest_s() < 0.5 + max(idle_s, longest_pause_when_idle())
    (message,) = shown
    assert "The variant service ended while it scored" in message
    assert "Load the VCF again" in message
    assert "Traceback" not in message
    assert session.case.variants is report  # what was there is untouched
    assert panel.load.isEnabled()
    assert "failed" in panel.progress.text.text()

    load(panel, case.vcf, wait)  # the next job restarts it
    assert len(shown) == 1
    assert session.case.variants.ledger == report.ledger
    kill_service()  # after the job: nothing is lost
    assert panel.table.model().rowCount() == len(session.case.variants.scored)
    wait(lambda: not session.saver.busy)
    assert len(shown) == 1


def test_a_job_is_cancelled_from_the_window_and_the_service_stays(
    viewer: Viewer, panel: VariantPanel, case: SyntheticCase, tmp_path: Path, wait: Callable
) -> None:
    panel.load_vcf(long_vcf(case, tmp_path / "long.vcf"))
    wait(lambda: panel.progress.bar.value() > 0, 240)
    pid = local.pid
    panel.progress.cancel.click()
    wait(lambda: not panel.progress.running, 30)
    assert "cancelled" in panel.progress.text.text()
    assert Session.of(viewer).case.variants is None
    load(panel, case.vcf, wait)
    assert local.pid == pid


def test_where_no_service_can_start_the_window_computes_itself_and_says_so(
    viewer: Viewer,
    panel: VariantPanel,
    case: SyntheticCase,
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
    wait: Callable,
) -> None:
    local.stop()
    monkeypatch.setattr(child, "_COMMAND", ("-m", "genomics", "serve", "--host", "192.0.2.1"))
    load(panel, case.vcf, wait)
    assert Session.of(viewer).case.variants.sample_id == "P-1"
    (message,) = shown
    assert "cannot be started" in message
    assert "scored in the computing process of this window" in message


def test_a_remote_service_of_the_settings_is_used_and_its_failure_is_no_silent_detour(
    viewer: Viewer,
    panel: VariantPanel,
    case: SyntheticCase,
    tmp_path: Path,
    shown: list[str],
    settings: Any,
    wait: Callable,
) -> None:
    local.stop()
    token, folder = tmp_path / "token", case.fasta.parent
    options = ("--token-file", token, "--references", folder)
    with running(*options, log=tmp_path / "log") as service:
        settings.url, settings.token_file = service.url, str(token)
        load(panel, case.vcf, wait)
        assert Session.of(viewer).case.variants.sample_id == "P-1"
        assert local.pid is None
        log = (tmp_path / "log").read_text()
        assert "PUT /jobs/{job_id}/vcf 200" in log
    token.write_text("of before")
    settings.token_file = ""
    panel.load_vcf(case.vcf)
    assert "no file with its token" in shown[-1]
    settings.token_file = str(token)
    token.write_text("ofbefore")
    load(panel, case.vcf, wait)
    assert "does not answer" in shown[-1]
    assert len(shown) == 2
    assert local.pid is None


def test_two_windows_share_one_service_and_each_gets_its_own(
    viewer: Viewer, panel: VariantPanel, case: SyntheticCase, wait: Callable
) -> None:
    """Two jobs at once through the one service: what each thread gets is its own patient's."""
    from napari_precimed.sidecar import score_variants

    other = write_synthetic_case(case.vcf.parent / "other", "Q-2")
    got: list[str | None] = []
    thread = threading.Thread(
        target=lambda: got.append(
            score_variants(
                other.vcf,
                reference=other.fasta,
                genes=other.gff3,
                progress=lambda *_: None,
                cancelled=lambda: False,
            ).sample_id
        )
    )
    thread.start()
    load(panel, case.vcf, wait)
    wait(lambda: not thread.is_alive(), 120)
    assert got == ["Q-2"]
    assert Session.of(viewer).case.variants.sample_id == "P-1"


def test_the_window_and_its_service_talk_to_this_machine_only(
    case: SyntheticCase, tmp_path: Path
) -> None:
    folder = tmp_path / "watch"
    folder.mkdir()
    watch = Watch(folder)
    done = watch.run("-c", WINDOW.format(manifest=str(MANIFEST), case=[str(p) for p in case]))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "scored P-1" in done.stdout
    assert len(watch.processes) >= 3  # the window, its service and a worker at the least
    assert watch.blocked == []
