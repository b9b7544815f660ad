"""The napari window: the only folder that imports napari, qtpy or magicgui."""
