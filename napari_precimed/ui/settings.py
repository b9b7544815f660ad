"""The user's choices in napari's plugin settings."""

from __future__ import annotations

from napari.settings import get_plugin_settings


def default_device() -> str:
    """The device named in the settings; "auto" where the plugin has no settings yet."""
    try:
        return str(get_plugin_settings("napari-precimed").computing.device)
    except (KeyError, AttributeError):
        return "auto"
