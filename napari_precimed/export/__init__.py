"""Core values to files: `table` for CSV, TSV and JSON, `report` for HTML and PDF."""
