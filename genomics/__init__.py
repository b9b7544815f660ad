"""Variants read, placed in their genes and scored, beside the patient's scan or alone.

``genomics`` imports nothing of ``napari_precimed`` and runs by itself as ``python -m genomics``.
Importing it loads neither torch nor pandas: open :mod:`genomics.score` for the work and
:mod:`genomics.report` for what came of it.
"""
