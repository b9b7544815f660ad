"""Data sets, recipes, fitting and evaluation of the built-in models."""
