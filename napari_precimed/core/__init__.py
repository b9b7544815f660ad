"""Values and arithmetic: what a scan, a lesion, a patient and a run are. No torch, no napari."""
