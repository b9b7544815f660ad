"""Which case is open in a viewer: the only one who changes it, and who tells the panels.

Panels ask the session and listen to its signals; they never speak to each other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from napari import Viewer
from napari.layers import Image, Labels, Layer, Vectors
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QObject, QTimer, Signal

from napari_precimed.core.lesion import LesionSet
from napari_precimed.core.patient import Case, Patient
from napari_precimed.core.volume import Volume
from napari_precimed.errors import PatientMismatchError, PrecimedError
from napari_precimed.ui import dialogs, layers
from napari_precimed.ui.edits import in_turn, measuring_all
from napari_precimed.ui.saving import Saver


class Session(QObject):
    """The open case of one viewer; use `Session.of`, which gives each viewer its only one."""

    case_changed = Signal()
    """Another case, another scan in it, or other variants."""
    lesions_changed = Signal()
    """Other lesions, of any scan of the case."""
    work_started = Signal(object)
    """A task of the session's own is about to start; for whoever shows progress."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = ref(viewer)
        self._case: Case | None = None
        self.saver = Saver()
        viewer.layers.events.inserted.connect(self._layer_inserted)
        for layer in list(viewer.layers):
            self._adopt(layer)

    @classmethod
    def of(cls, viewer: Viewer) -> Session:
        """The session of this viewer; napari hands plugins a proxy, which is looked through."""
        own = inspect.unwrap(viewer)
        if own not in _sessions:
            _sessions[own] = cls(own)
        return _sessions[own]

    @property
    def case(self) -> Case | None:
        """The open case, or None."""
        return self._case

    @property
    def _patient_id(self) -> str | None:
        return self._case.patient.id if self._case else None

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """The scans of the open case."""
        return self._case.volumes if self._case else ()

    def lesions_of(self, volume: Volume | None) -> LesionSet | None:
        """The lesions of a scan of the open case."""
        return self._case.lesions_of(volume) if self._case and volume is not None else None

    def layer_of(self, volume: Volume, kind: type[Layer] = Image) -> Any:
        """The layer of that type that shows this scan, or None if the user removed it."""
        for layer in reversed(self._layers()):
            shown = None if layers.map_of(layer) else layers.layer_scan(layer)
            if isinstance(layer, kind) and shown is not None and layers.same_scan(shown, volume):
                return layer
        return None

    def map_layer_of(self, volume: Volume, kind: str) -> Any:
        """The layer with that kind of map of this scan, or None where there is none (any more)."""
        for layer in self._layers():
            shown = layers.map_of(layer)
            if shown is not None and shown[0] == kind and layers.same_scan(shown[1], volume):
                return layer
        return None

    def show_map(self, volume: Volume, drawn: layers.LayerData) -> bool:
        """Show a map of `layers` on its scan, in place of an earlier one of its kind.

        Returns
        -------
        bool
            False, with a word to the user, if the scan was closed meanwhile.
        """
        if not any(layers.same_scan(volume, own) for own in self.volumes):
            show_info(f"The map of {layers.volume_name(volume)} came after it was closed.")
            return False
        kind = drawn[1]["metadata"][layers.METADATA_KEY]["map"]
        layer = self.map_layer_of(volume, kind)
        if layer is None:
            self._show(drawn)
            self._select(self.layer_of(volume, Labels))
        else:
            layers.redraw_map(layer, drawn)
            layer.visible = True
        return True

    def is_edited(self, volume: Volume) -> bool:
        """Whether the labels drawn on this scan are not those that were measured."""
        layer, lesions = self.layer_of(volume, Labels), self.lesions_of(volume)
        if layer is None:
            return False
        drawn = np.asarray(layer.data)
        if lesions is None:
            return bool(drawn.any())
        # slice by slice: stops at the first difference, and needs no array of the scan's size
        return drawn.shape != lesions.labels.shape or not all(
            map(np.array_equal, drawn, lesions.labels)
        )

    def edited_scans(self) -> tuple[Volume, ...]:
        """The scans whose labels were edited since their lesions were measured."""
        return tuple(volume for volume in self.volumes if self.is_edited(volume))

    def leave(self, then: Callable[[], Any]) -> None:
        """Do `then`, which takes the open patient away, once no edit can be lost by it.

        Where labels were edited and not measured the user is asked: they are measured and saved
        first, or discarded, or `then` is not done. Nor is it done if measuring or saving fails.
        """
        case, edited = self._case, self.edited_scans()
        if case is None or not edited:
            then()
            return
        answer = dialogs.ask_about_edits(case.patient.id, edited)
        if answer == dialogs.DISCARD:
            then()
        elif answer == dialogs.MEASURE:

            def leave_again(saved: bool) -> None:
                if saved and self._case is not None and self._case.id == case.id:
                    self.leave(then)

            in_turn(
                measuring_all(self),
                self.work_started.emit,
                lambda: self.saver.after_saving(leave_again),
            )

    def open_case(self, case: Case) -> None:
        """Show another case in place of the open one."""
        self.close_case()
        self._case = case
        for volume in case.volumes:
            self._show(layers.image_layer(volume))
            lesions = case.lesions_of(volume)
            if lesions is not None:
                self._show_lesions(lesions, volume)
        self._announce()
        for warning in case.notes.get("warnings", ()):
            show_warning(warning)

    def close_case(self) -> None:
        """Close the open case and take its layers away; what was saved stays saved."""
        self._case = None
        for layer in self._layers():
            if layers.layer_scan(layer) is not None:
                self._remove(layer)
        self._announce()

    def set_lesions(self, volume: Volume, lesions: LesionSet, *, drawn: bool = False) -> None:
        """Take new lesions of a scan into the case, show them and save.

        The user may have closed or changed the patient since the work began: lesions of a scan
        that is no longer open are dropped, with a word. Lesions measured on labels that are `drawn`
        already leave the labels layer alone: it may have been painted in meanwhile.
        """
        if self._case is None or not any(layers.same_scan(volume, own) for own in self.volumes):
            show_info(f"The result for {layers.volume_name(volume)} came after it was closed.")
            return
        self._case = self._case.attach_lesions(lesions)
        self._show_lesions(lesions, volume, drawn=drawn)
        self.lesions_changed.emit()
        self.saver.save(self._case)

    def set_variants(self, report: Any, *, mapped: bool = False) -> None:
        """Link the variants of the open patient, or open the patient that they name, and save.

        Raises
        ------
        PatientMismatchError
            If the sample is not the open patient and `mapped` does not say so.
        """
        case = self._case or Case(Patient(id=report.sample_id))
        self._case = case.attach_variants(report, mapped=mapped)
        self.case_changed.emit()
        self.saver.save(self._case)

    def jump_to(self, volume: Volume, label: int) -> None:
        """Bring a lesion's centre into view: slice, and middle of the canvas."""
        viewer, lesions = self._viewer(), self.lesions_of(volume)
        if viewer is None or lesions is None:
            return
        place = layers.to_viewer(volume.geometry, lesions.lesion(label).centroid_mm)
        first = viewer.dims.ndim - 3
        viewer.dims.set_point(range(first, first + 3), place)
        viewer.scene.camera.center = tuple(place)
        labels = self.layer_of(volume, Labels)
        if labels is not None:
            labels.selected_label = label

    def _layer_inserted(self, event: Any) -> None:
        self._adopt(event.value)

    def _adopt(self, layer: Layer) -> None:
        """Take the scan of a new layer into the case; ask if that may be another person's."""
        volume = layers.layer_scan(layer)
        if volume is None or not isinstance(layer, Image) or layers.map_of(layer):
            return
        if any(layers.same_scan(volume, own) for own in self.volumes):
            return
        if self._case is None or (
            volume.patient_id is not None and volume.patient_id == self._case.patient.id
        ):
            self._add(volume)
        else:  # asked when napari has finished inserting the layer
            QTimer.singleShot(0, lambda: self._ask_about(layer, volume))

    def _ask_about(self, layer: Layer, volume: Volume) -> None:
        if layer not in self._layers():
            return
        if self._case is None:
            self._add(volume)
            return
        answer = dialogs.ask_whose_scan(self._patient_id, volume)
        if answer == dialogs.SAME_PATIENT and self._join(volume):
            return
        self._remove(layer)
        if answer == dialogs.NEW_PATIENT:
            self.leave(lambda: self.open_case(Case.of(volume)))

    def _join(self, volume: Volume) -> bool:
        """Add a scan that the user holds to be of the open patient; whether it was added.

        Where it tells the patient's id only now, a sample that was linked before needs its own yes.
        """
        try:
            self._add(volume, mapped=volume.patient_id is None)
        except PatientMismatchError as error:
            if not dialogs.ask_mapping(error):
                return False
            self._add(volume, mapped=True)
        return True

    def _add(self, volume: Volume, *, mapped: bool = False) -> None:
        try:
            self._case = (
                self._case.attach_volume(volume, mapped=mapped) if self._case else Case.of(volume)
            )
        except PatientMismatchError:
            raise
        except PrecimedError as error:
            show_error(str(error))
            return
        self._announce()

    def _show_lesions(self, lesions: LesionSet, volume: Volume, *, drawn: bool = False) -> None:
        """Show lesions in the layers of their scan, or in new ones.

        Layers are reused: napari collects garbage at each removal, which takes a tenth of a second
        and more, and an edit in place is a step that the user can undo.
        """
        labels = self.layer_of(volume, Labels)
        if labels is None:
            self._show(layers.labels_layer(lesions, volume))
        elif not drawn:
            layers.redraw_labels(labels, lesions)
        axes, lines = self.layer_of(volume, Vectors), layers.axes_layer(lesions, volume)
        if axes is not None and lines is not None:
            layers.redraw_axes(axes, lines)
        elif axes is not None:
            self._remove(axes)
        elif lines is not None:
            self._show(lines)
        self._select(self.layer_of(volume, Labels))

    def _select(self, layer: Layer | None) -> None:
        viewer = self._viewer()
        if viewer is not None and layer is not None:
            viewer.layers.selection.active = layer

    def _show(self, data: layers.LayerData) -> None:
        viewer = self._viewer()
        if viewer is not None:
            viewer.add_layer(Layer.create(*data))

    def _remove(self, layer: Layer) -> None:
        viewer = self._viewer()
        if viewer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)

    def _layers(self) -> list[Layer]:
        viewer = self._viewer()
        return list(viewer.layers) if viewer is not None else []

    def _announce(self) -> None:
        self.case_changed.emit()
        self.lesions_changed.emit()


_sessions: WeakKeyDictionary[Viewer, Session] = WeakKeyDictionary()
