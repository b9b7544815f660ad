"""From what a client asks for to an order: which files of this machine it may name.

A service that the viewer started as its child reads the files that the viewer's user can read
anyway, so it takes paths and a VCF of gigabytes need not be copied. Any other service takes none:
whoever holds the token could otherwise read what its user can. There the VCF is uploaded, and the
reference and the genes, which are nobody's secret and too large to send, lie in a folder of the
server and are named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from genomics.catalogue import built_in_models
from genomics.service.jobs import Order

_INDEX_ENDINGS = (".fai", ".gzi", ".tbi")


@dataclass(frozen=True)
class Places:
    """Which files orders may name.

    Attributes
    ----------
    local_files : bool
        Whether absolute paths are taken.
    references : Path or None
        The folder whose files ``reference`` and ``genes`` may name.
    """

    local_files: bool = False
    references: Path | None = None

    def names(self) -> list[str]:
        """Return what the folder of references holds."""
        if self.references is None:
            return []
        return sorted(
            path.name
            for path in self.references.iterdir()
            if path.is_file() and not path.name.endswith(_INDEX_ENDINGS)
        )


def order_from(body: Mapping[str, Any], places: Places) -> Order:
    """Check an order's files and options, and return it.

    Raises
    ------
    HTTPException
        Status 403: it names what it may not; 404: it names what does not exist.
    """
    vcf = body["vcf"] and _local_file(body["vcf"], "vcf", places)
    return Order(
        vcf=vcf or None,
        name=vcf.name if vcf else body["name"] or "upload.vcf",
        sample=body["sample"],
        reference=_reference(body["reference"], "reference", places),
        genes=_reference(body["genes"], "genes", places),
        model=_model(body["model"], places),
        outputs=tuple(dict.fromkeys(body["outputs"])),
    )


def _local_file(given: str, field: str, places: Places) -> Path:
    if not places.local_files:
        raise HTTPException(
            403, f"{field}: this service reads no files by path; upload the VCF instead"
        )
    path = Path(given)
    if not path.is_absolute():
        raise HTTPException(404, f"{field}: {given}: not an absolute path; give one")
    if not path.is_file():
        raise HTTPException(404, f"{field}: {given}: no such file")
    return path


def _reference(given: str | None, field: str, places: Places) -> Path | None:
    if given is None:
        return None
    names = places.names()
    if places.references is not None and given in names:
        return places.references / given
    if places.local_files:
        return _local_file(given, field, places)
    has = f"it has {', '.join(names)}" if names else "it was started without --references"
    raise HTTPException(404, f"{field}: {given}: not on the service's machine; {has}")


def _model(given: str, places: Places) -> str:
    built_in = built_in_models()
    if given in built_in or (places.local_files and Path(given).is_absolute()):
        return given
    raise HTTPException(404, f"model: {given}: no such model; there is {', '.join(built_in)}")
