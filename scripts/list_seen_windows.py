"""Write the list of seen windows of a model that was trained before training wrote it.

    python scripts/list_seen_windows.py MODEL_FOLDER TABLE

The table must be the one that the model was trained on; its SHA-256 is compared.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from genomics.catalogue import open_model
from genomics.dataset import find_missense_table, read_missense_table
from genomics.errors import TableError
from genomics.seen_windows import SEEN_WINDOWS, write_seen_windows


def main(model: Path, data: Path) -> None:
    """Hash the windows of the genes that training or validation saw."""
    folder, source = open_model(model), find_missense_table(data)
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    expected = folder.config["training"]["data_sha256"]
    if found != expected:
        raise TableError(
            f"{source}: SHA-256 {found}, but the model was trained on {expected}; give that table"
        )
    table = read_missense_table(source)
    seen = table[table["gene"].isin(folder.genes_seen())]
    write_seen_windows(folder.path, seen["wt_window101"])
    print(f"wrote {folder.path / SEEN_WINDOWS}: windows of {len(seen)} variants")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
