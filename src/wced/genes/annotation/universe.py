"""The genes that are annotated, and the record of which source said what of them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from wced.config.annotation import Annotation
from wced.errors import WcedError
from wced.files import sha256
from wced.genes import gene_names
from wced.genes.annotation.references import gene_ids, opened, read_list, version
from wced.tables import GENE_ANNOTATION_SOURCES, checked


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

    def among(self, ids: pd.Index | np.ndarray) -> np.ndarray:
        """Return which genes are among `ids`, bool (genes,)."""
        return self.gene_id.isin(ids)

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

    def identity_of(self, name: str, path: Path) -> dict[str, str]:
        """Return version and SHA-256 of the reference in the config's field `name`, for `note`."""
        reference = getattr(self.settings, name)
        return {"version": version(reference), "sha256": reference.sha256 or sha256(path)}

    def listed(self, name: str, source: str) -> np.ndarray:
        """Read the list of genes in the config's field `name`; return which genes it names, bool (genes,)."""
        with opened(getattr(self.settings, name), self.folder) as path:
            words = read_list(path, f"a list of genes (annotation.{name})")
            ids = gene_ids(words, self.names)
            if not (found_g := self.among(ids)).any():
                raise WcedError(f"{path}: none of its {len(words)} names is a protein-coding gene (annotation.{name})")
            facts = {"names": len(words), "names_unmapped": int((ids == "").sum()), **self.identity_of(name, path)}
        self.note(name, source, "a list", genes=found_g, **facts)
        return found_g
