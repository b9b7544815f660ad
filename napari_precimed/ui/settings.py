"""The user's choices in napari's plugin settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.settings import get_plugin_settings

from napari_precimed.errors import InputError

if TYPE_CHECKING:
    from napari_precimed.sidecar import Remote


def default_device() -> str:
    """The device named in the settings; "auto" where the plugin has no settings yet."""
    try:
        return str(get_plugin_settings("napari-precimed").computing.device)
    except (KeyError, AttributeError):
        return "auto"


def remote_sidecar() -> Remote | None:
    """The remote variant service of the settings; None where this machine is to compute.

    Raises
    ------
    InputError
        An address is given, and no file that holds its token.
    """
    from napari_precimed.sidecar import Remote

    try:
        chosen = get_plugin_settings("napari-precimed").variant_service
        url, token_file, ca_file = (
            str(text).strip() for text in (chosen.url, chosen.token_file, chosen.ca_file)
        )
    except (KeyError, AttributeError):
        return None
    if not url:
        return None
    if not token_file:
        raise InputError(
            f"The settings name the variant service '{url}' and no file with its token; name the "
            "file, or clear the address to compute on this machine."
        )
    ca = Path(ca_file).expanduser() if ca_file else None
    return Remote(url, Path(token_file).expanduser(), ca)
