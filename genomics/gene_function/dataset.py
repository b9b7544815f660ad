"""Proteins with a broad function, and their division into families.

The function is read off the gene's approved name (HGNC, through the MANE summary): "solute carrier
family 2 member 1" is a transporter. Names tell a function only where it was known and fits in a
name; proteins whose name says none, or two, are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from genomics.dataset import PROTEINS, Part, read_proteins, read_tab_separated
from genomics.errors import TableError

MANE = "MANE.GRCh38.v1.5.summary.txt.gz"
_NOT_THE_ENZYME = (
    r"(?!.*(inhibitor|binding|anchor|substrate|associated|regulatory|interacting|like))"
)
FUNCTIONS: Mapping[str, str] = {
    "transcription factor": r"zinc finger (protein|and )|homeobox|transcription factor|forkhead|"
    r"nuclear receptor|SRY-box|T-box|helix-loop-helix",
    "kinase": rf"\bkinase\b{_NOT_THE_ENZYME}",
    "G protein-coupled receptor": r"olfactory receptor|G protein-coupled receptor|adrenoceptor|"
    r"chemokine receptor|taste.* receptor|(serotonin|dopamine|muscarinic|opioid|histamine|"
    r"adenosine|prostaglandin|melanocortin|somatostatin|5-hydroxytryptamine|neuropeptide|"
    r"purinergic|frizzled).*receptor",
    "ion channel": r"\bchannel\b|gamma-aminobutyric acid type A receptor|"
    r"glutamate (ionotropic )?receptor|cholinergic receptor nicotinic",
    "transporter": r"solute carrier|transporter|ATP binding cassette|ATPase.*transporting|"
    r"aquaporin",
    "protease": r"peptidase|protease|proteasome 20S|caspase|cathepsin|kallikrein",
    "ubiquitin ligase": r"ubiquitin.*ligase|ring finger protein|tripartite motif|F-box|cullin",
    "phosphatase": rf"phosphatase{_NOT_THE_ENZYME}",
    "oxidoreductase": r"dehydrogenase|oxidase|reductase|oxygenase|cytochrome P450|peroxi|"
    r"desaturase",
    "transferase": r"transferase",
    "cytoskeleton and matrix": r"myosin|keratin|tubulin|actin |dynein|kinesin|collagen|laminin|"
    r"spectrin",
    "RNA and translation": r"ribosomal protein|splicing|RNA binding|helicase|"
    r"eukaryotic translation|tRNA synthetase|ribonucle",
    "cytokine or growth factor": r"interleukin \d+[A-Z]?$|cytokine|chemokine ligand|"
    r"growth factor(?!.* receptor)|interferon (alpha|beta|gamma|omega)(?!.* receptor)",
    "cell adhesion": r"cadherin|integrin|claudin|adhesion|selectin",
}
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_KMER, _KINDS, _FEWEST_SHARED, _SHARED_PERCENT = 6, 4, 5, 1
_LARGE_FAMILY = 30
_PERCENT: Mapping[Part, int] = {"train": 70, "validation": 15, "test": 15}


def function_of(name: str) -> str | None:
    """Return the one broad function that a gene's approved name tells; None where none or two."""
    found = [label for label, pattern in FUNCTIONS.items() if re.search(pattern, name)]
    return found[0] if len(found) == 1 else None


def read_functions(data: Path) -> pd.DataFrame:
    """Return proteins whose gene's name tells a broad function.

    Parameters
    ----------
    data : Path
        Folder of ``proteins.fasta.gz`` (names are RefSeq or Ensembl accessions) and
        ``genes/MANE.GRCh38.v1.5.summary.txt.gz``; or the folder above.

    Returns
    -------
    pandas.DataFrame
        One row per gene: ``gene``, ``name``, ``function``, ``sequence``, ``family`` (see
        :func:`families`) and ``part`` of the split.

    Raises
    ------
    TableError
        A file is missing or damaged, or no protein of it has a function.
    """
    folder = next((each for each in (data, data / "genomics") if (each / PROTEINS).is_file()), data)
    proteins = read_proteins(folder / PROTEINS)
    columns = ("symbol", "name", "RefSeq_prot", "Ensembl_prot", "MANE_status")
    mane = read_tab_separated(folder / "genes" / MANE, columns, as_text=True)
    mane = mane[mane["MANE_status"] == "MANE Select"]
    by_accession = {name.removeprefix("9606.").split(".")[0]: name for name in proteins}
    rows = []
    for gene in mane.to_dict("records"):
        function = function_of(gene["name"])
        accessions = (gene[key].split(".")[0] for key in ("RefSeq_prot", "Ensembl_prot"))
        protein = next((by_accession[each] for each in accessions if each in by_accession), None)
        if function and protein:
            rows.append((gene["symbol"], gene["name"], function, proteins[protein]))
    if not rows:
        raise TableError(f"{folder}: no protein of {PROTEINS} has a function by its gene's name")
    table = pd.DataFrame(rows, columns=["gene", "name", "function", "sequence"])
    family = families(list(table["sequence"]))
    return table.assign(family=family, part=parts_of(family, list(table["gene"])))


def families(sequences: Sequence[str]) -> npt.NDArray[np.int32]:
    """Return the family of each protein, as numbers from 0.

    Two proteins are of one family if they share at least five stretches of six residues, and at
    least 1 % of the shorter one's; and so is whatever is linked to either. Stretches of fewer than
    four kinds of residue are not counted. Relatives below about half identity share too few.
    """
    columns: dict[str, int] = {}
    rows, places = [], []
    for row, sequence in enumerate(sequences):
        stretches = {sequence[k : k + _KMER] for k in range(len(sequence) - _KMER + 1)}
        kept = sorted(each for each in stretches if len(set(each)) >= _KINDS)
        rows += [row] * len(kept)
        places += [columns.setdefault(each, len(columns)) for each in kept]
    shape = (len(sequences), max(len(columns), 1))
    present = csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, places)), shape=shape)
    sizes = np.bincount(rows, minlength=len(sequences))
    shared = (present @ present.T).tocoo()
    shorter = np.minimum(sizes[shared.row], sizes[shared.col])
    linked = (shared.data >= _FEWEST_SHARED) & (100 * shared.data >= _SHARED_PERCENT * shorter)
    ends = (shared.row[linked], shared.col[linked])
    links = csr_matrix((np.ones(len(ends[0])), ends), shape=(len(sequences), len(sequences)))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int32)


def parts_of(family: npt.NDArray[np.int32], genes: Sequence[str]) -> list[Part]:
    """Return the part of the split of each protein; no family is in two.

    Families of more than 30 train: in the test one of them would outweigh the rest. Of the others,
    SHA-256 of the alphabetically first gene decides, modulo 100.
    """
    members: dict[int, list[str]] = {}
    for number, gene in zip(family.tolist(), genes, strict=True):
        members.setdefault(number, []).append(gene)
    parts = {number: _part(own) for number, own in members.items()}
    return [parts[number] for number in family.tolist()]


def _part(members: Sequence[str]) -> Part:
    if len(members) > _LARGE_FAMILY:
        return "train"
    digest = hashlib.sha256(f"0:{min(members)}".encode()).digest()
    percent = int.from_bytes(digest[:8], "big") % 100
    if percent < _PERCENT["train"]:
        return "train"
    return "validation" if percent < 100 - _PERCENT["test"] else "test"


def kmer_frequencies(sequences: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return what the baseline sees: how often each 2-mer and 3-mer occurs.

    Returns
    -------
    ndarray, shape (n, 8400)
        Square roots of the shares, so that each length's part has norm 1.
    """
    codes = np.full(128, len(_LETTERS))
    codes[[ord(letter) for letter in _LETTERS]] = np.arange(len(_LETTERS))
    found = np.zeros((len(sequences), 400 + 8000), dtype=np.float32)
    for row, sequence in enumerate(sequences):
        residues = codes[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]
        residues = residues[residues < len(_LETTERS)]
        for length, start in ((2, 0), (3, 400)):
            if len(residues) < length:
                continue
            windows = np.lib.stride_tricks.sliding_window_view(residues, length)
            index = windows @ (20 ** np.arange(length))
            counts = np.bincount(index, minlength=20**length)
            found[row, start : start + 20**length] = np.sqrt(counts / len(index))
    return found
