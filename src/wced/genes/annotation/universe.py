"""The genes that are annotated, and the record of which source says what of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from wced.config.annotation import Annotation
from wced.errors import WcedError
from wced.files import sha256
from wced.genes import gene_names
from wced.genes.annotation.references import gene_ids, opened, read_list, version
from wced.tables import GENE_ANNOTATION_SOURCES, checked

Content = TypeVar("Content")


@dataclass
class Universe:
    """All protein-coding genes of the gene table, in its order."""

    settings: Annotation
    """Which files say something of them."""
    folder: str | Path
    """Folder of the downloaded archives and files."""
    table: pd.DataFrame
    """The gene table, all genes."""
    notes: list[dict] = field(default_factory=list)
    """What each source said so far."""

    def __post_init__(self) -> None:
        self.coding = self.table[self.table["protein_coding"]].reset_index(drop=True)
        if self.coding.empty:
            raise WcedError("gene table: has no protein-coding gene")
        self.gene_id = pd.Index(self.coding["gene_id"])
        self.names = gene_names(self.table)

    def note(self, column: str, source: str, text: str, *, genes: np.ndarray | None = None, **facts: object) -> None:
        """Record what a column comes from; `genes` is which genes the source says something of, all by default."""
        row = {"version": "", "sha256": "", "proxy": False, "names": 0, "names_unmapped": 0, "note": text}
        n = len(self.gene_id) if genes is None else int(genes.sum())
        self.notes.append({"column": column, "source": source, **row, "genes": n, **facts})

    def is_proxy(self, column: str) -> bool:
        """Return whether a proxy stands for any source of the column."""
        return any(row["proxy"] for row in self.notes if row["column"] == column)

    def sources(self) -> pd.DataFrame:
        """Return what was recorded, as rows of tables.GENE_ANNOTATION_SOURCES."""
        frame = pd.DataFrame(self.notes).sort_values(["column", "source"], kind="stable", ignore_index=True)
        return checked(frame, GENE_ANNOTATION_SOURCES)

    def read(self, name: str, reader: Callable[[Path], Content]) -> tuple[Content, dict[str, str]]:
        """Read the file in the config's field `name`; return its content, and its version and SHA-256 for `note`."""
        reference = getattr(self.settings, name)
        with opened(reference, self.folder) as path:
            return reader(path), {"version": version(reference), "sha256": reference.sha256 or sha256(path)}

    def listed(self, name: str, source: str) -> np.ndarray:
        """Read the list of genes in the config's field `name`; return which genes it names, bool (genes,)."""

        def ids_of(path: Path) -> np.ndarray:
            ids = gene_ids(read_list(path, f"a list of genes (annotation.{name})"), self.names)
            if not self.gene_id.isin(ids).any():
                raise WcedError(f"{path}: none of its {len(ids)} names is a protein-coding gene (annotation.{name})")
            return ids

        ids, facts = self.read(name, ids_of)
        listed_g = self.gene_id.isin(ids)
        self.note(name, source, "a list", genes=listed_g, names=len(ids), names_unmapped=(ids == "").sum(), **facts)
        return listed_g
