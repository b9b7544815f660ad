"""Variants read, placed in their genes and scored, beside the patient's scan or alone.

``genomics`` imports nothing of ``napari_precimed`` and runs by itself as ``python -m genomics``.
Importing it loads neither torch nor pandas: open :mod:`genomics.score` for the work and
:mod:`genomics.report` for what came of it.

The rooms: ``vcf`` reads and checks the file, ``preflight`` says what it is; ``genes``, ``caller``,
``compound`` and their neighbours say what a change does, ``rules`` what is clear without a model;
``missense``, ``nucleotide`` and ``gene_function`` hold the models, ``training`` and ``evaluation``
fit and measure the first; ``explain`` says why; ``stream``, ``shards`` and ``listing`` carry whole
genomes; ``output`` and ``report`` hand the result on; ``service`` serves it to other programs.
"""
