"""A patient's scan and genome on one screen.

Importing this package loads neither torch nor napari; the rooms are imported where they are used.
"""

from napari_precimed._version import __version__

__all__ = ["__version__"]
