"""A reference read in blocks that are kept, for many small questions near each other."""

from __future__ import annotations

from collections import OrderedDict

from genomics.reference import Reference
from genomics.variant import Bases

_BLOCK_BITS = 16
_KEPT_BLOCKS = 64


class BlockReader:
    """Bases of one reference, ``""`` beyond a sequence's ends.

    Parameters
    ----------
    reference : Reference
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._blocks: OrderedDict[tuple[str, int], str] = OrderedDict()

    def on(self, name: str) -> Bases:
        """Return the reader of one sequence, by the name that the FASTA gives it."""
        length = self._reference.lengths[name]

        def bases(first: int, last: int) -> str:
            if not 1 <= first <= last <= length:
                return ""
            block = (first - 1) >> _BLOCK_BITS
            begin = (first - 1) - (block << _BLOCK_BITS)
            found = self._block(name, block, length)[begin : begin + last - first + 1]
            if len(found) <= last - first:
                return self._reference.bases(name, first, last)
            return found

        return bases

    def _block(self, name: str, block: int, length: int) -> str:
        key = (name, block)
        kept = self._blocks.get(key)
        if kept is None:
            first = (block << _BLOCK_BITS) + 1
            last = min(length, (block + 1) << _BLOCK_BITS)
            kept = self._blocks[key] = self._reference.bases(name, first, last)
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return kept
