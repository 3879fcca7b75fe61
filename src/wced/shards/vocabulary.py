"""Which genes a model knows, which labels it can learn, and which genes each dataset measured."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from wced.config.corpus import LABEL_COLUMNS
from wced.errors import WcedError
from wced.files import existing, whole_file
from wced.genes.names import gene_names
from wced.shards import FORMAT_VERSION
from wced.shards.perturbations import Perturbations
from wced.tables import read_text

UNKNOWN = ("unknown", "", "na", "nan")

LOCAL_COLUMNS = ("donor_id", "batch")
"""Columns whose values mean something within their dataset only."""


def versioned_json(path: str | Path, what: str, keys: Sequence[str]) -> dict[str, Any]:
    """Read a JSON object of this room; raise WcedError if it is missing, broken, of another version or lacks a key."""
    try:
        record = json.loads(existing(path, what).read_text())
        version = record["format_version"]
    except (ValueError, KeyError, TypeError):
        raise WcedError(f"{path}: not {what}") from None
    if version != FORMAT_VERSION:
        raise WcedError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}; make it again")
    for key in keys:
        if key not in record:
            raise WcedError(f"{path}: not {what}: it has no {key}")
    return record


@dataclass(frozen=True)
class Vocabulary:
    """The genes of a model, in the order of their ids."""

    gene_ids: tuple[str, ...]
    """Ensembl ids, sorted; a gene's vocabulary id is its place."""
    symbols: tuple[str, ...]
    """Gene symbols, for people."""
    names: tuple[str, ...] | None = None
    """All that stands for each gene and for no other, `|` between: symbols, previous symbols and aliases. None where
    they were never noted."""

    def __len__(self) -> int:
        return len(self.gene_ids)

    @property
    def sha256(self) -> str:
        """Hash of the ordered Ensembl ids: two vocabularies are the same exactly when it is."""
        return hashlib.sha256("\n".join(self.gene_ids).encode()).hexdigest()

    def ids_of(self, gene_ids: Sequence[str]) -> np.ndarray:
        """Return the vocabulary id of each Ensembl id, -1 for genes outside; shape (len(gene_ids),), int32."""
        return pd.Index(self.gene_ids).get_indexer(pd.Index(gene_ids)).astype(np.int32)

    def chosen(self, keep_v: np.ndarray) -> "Vocabulary":
        """Return the vocabulary of those genes for which `keep_v` (bool) holds."""
        columns = (self.gene_ids, self.symbols, self.names)
        return Vocabulary(*(None if column is None else tuple(compress(column, keep_v)) for column in columns))

    def write(self, path: str | Path) -> None:
        """Write `vocabulary.tsv`: id, gene_id, symbol, and names where they are noted."""
        frame = pd.DataFrame({"id": range(len(self)), "gene_id": self.gene_ids, "symbol": self.symbols})
        frame = frame if self.names is None else frame.assign(names=self.names)
        with whole_file(path) as temporary:
            frame.to_csv(temporary, sep="\t", index=False)

    @classmethod
    def read(cls, path: str | Path) -> "Vocabulary":
        """Read `vocabulary.tsv`."""
        frame = read_text(path, "a vocabulary")
        if list(frame.columns) not in (["id", "gene_id", "symbol"], ["id", "gene_id", "symbol", "names"]):
            raise WcedError(f"{path}: a vocabulary has the columns id, gene_id and symbol, and may have names")
        return cls(*(tuple(frame[column]) for column in frame.columns[1:]))


def make_vocabulary(genes: pd.DataFrame, measured_ids: Sequence[str]) -> Vocabulary:
    """Return the genes that are protein-coding in the gene table and measured by the corpus.

    Parameters
    ----------
    genes
        Gene table (`wced.genes`).
    measured_ids
        Ensembl ids that at least one dataset of the corpus measured.
    """
    chosen = genes[genes["protein_coding"] & genes["gene_id"].isin(set(measured_ids))].sort_values("gene_id")
    if chosen.empty:
        raise WcedError("vocabulary: the corpus measures no protein-coding gene of the gene table")
    known = gene_names(genes).gene_id
    known = known[known.isin(chosen["gene_id"])]
    names = known.index.to_series().groupby(known.to_numpy()).agg("|".join)
    names = names.reindex(chosen["gene_id"], fill_value="")
    return Vocabulary(tuple(chosen["gene_id"]), tuple(chosen["symbol"]), tuple(names))


@dataclass(frozen=True)
class Labels:
    """What shards say of a cell besides its counts: classes of label columns, numbers, and perturbed genes."""

    classes: dict[str, tuple[str, ...]]
    """Sorted classes by column, those that occur in training cells; a class's code is its place. Donors (and other
    values of `LOCAL_COLUMNS`) are named `dataset_id:donor_id`."""
    unknown_in_validation: dict[str, dict[str, int]]
    """By column, validation cells of each class that train lacks; they count as unknown."""
    number_columns: tuple[str, ...] = ()
    """Columns of numbers."""
    perturbations: Perturbations | None = None
    """What the values of the column of perturbed genes mean, where there is one."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Label columns, in their order."""
        return tuple(self.classes)

    def codes(self, column: str, values: pd.Series) -> np.ndarray:
        """Return the code of each value, -1 where it is unknown; int32."""
        return pd.Index(self.classes[column]).get_indexer(pd.Index(values.astype(str))).astype(np.int32)

    def write(self, path: str | Path) -> None:
        """Write `labels.json`."""
        record = {"format_version": FORMAT_VERSION, **asdict(self)}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> "Labels":
        """Read `labels.json`."""
        keys = [field.name for field in fields(cls)]
        record = versioned_json(path, "a table of labels", keys)
        classes = {column: tuple(names) for column, names in record["classes"].items()}
        perturbed = record["perturbations"]
        if perturbed is not None:
            genes = {value: tuple(ids) for value, ids in perturbed["genes"].items()}
            perturbed = Perturbations(perturbed["column"], genes, perturbed["unmarked"])
        return cls(classes, record["unknown_in_validation"], tuple(record["number_columns"]), perturbed)


def label_values(cells: pd.DataFrame, column: str) -> pd.Series:
    """Return a label column as strings that are unique over the corpus: donors carry their dataset's name."""
    values = cells[column].astype(str)
    if column in LOCAL_COLUMNS:
        known = ~values.isin(UNKNOWN)
        values = values.where(~known, cells["dataset_id"].astype(str) + ":" + values)
    return values


def number_values(cells: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as numbers, NaN for unknown; float32, (cells,).

    Raises
    ------
    WcedError
        If it has text that is no number and does not say unknown, or a number beyond float32.
    """
    values = cells[column]
    if isinstance(values.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(values.dtype):
        codes, texts = pd.factorize(values.astype(str))
        found = pd.to_numeric(pd.Series(texts).where(~texts.isin(UNKNOWN)), errors="coerce")
        bad = texts[found.isna() & ~texts.isin(UNKNOWN)]
        if len(bad):
            raise WcedError(f"shards.number_columns: {column} of cells.parquet has {bad[0]!r}, which is no number")
        values = found.to_numpy(np.float64)[codes]
    with np.errstate(over="ignore"):
        numbers = np.asarray(values, np.float64).astype(np.float32)
    if np.isinf(numbers).any():
        raise WcedError(f"shards.number_columns: {column} of cells.parquet has a number that no float32 holds")
    return numbers


def make_labels(
    cells: pd.DataFrame,
    columns: Sequence[str] = LABEL_COLUMNS,
    number_columns: Sequence[str] = (),
    perturbations: Perturbations | None = None,
) -> Labels:
    """Return what shards say of cells, from the selected cells (`split` says which are for training).

    Parameters
    ----------
    cells
        All rows of cells.parquet.
    columns, number_columns
        Columns of labels and of numbers.
    perturbations
        Perturbed genes, if any.

    Raises
    ------
    WcedError
        If there is no such column, or one of numbers has something else.
    """
    for key, names in (("label_columns", columns), ("number_columns", number_columns)):
        for name in names:
            if name not in cells:
                raise WcedError(f"shards.{key}: cells.parquet has no column {name}")
    for name in number_columns:
        number_values(cells, name)
    train = (cells["split"] == "train").to_numpy()
    classes, unknown = {}, {}
    for column in columns:
        values = label_values(cells, column)
        known = ~values.isin(UNKNOWN).to_numpy()
        classes[column] = tuple(sorted(values[known & train].unique()))
        lost = values[known & ~train]
        lost = lost[~lost.isin(set(classes[column]))].value_counts().sort_index()
        unknown[column] = {str(name): int(n) for name, n in lost.items()}
    return Labels(classes, unknown, tuple(number_columns), perturbations)


def write_measured(path: str | Path, dataset_ids: Sequence[str], measured_dv: np.ndarray) -> None:
    """Write `measured.arrow`: one row per dataset (its place is its code) with a mask over the vocabulary.

    Parameters
    ----------
    path
        File to write.
    dataset_ids
        Names of the datasets, sorted.
    measured_dv
        bool, datasets × vocabulary genes: whether the dataset measured the gene at all.
    """
    n_genes = measured_dv.shape[1]
    flat = pa.array(measured_dv.ravel())
    table = pa.table(
        {
            "dataset_id": pa.array(list(dataset_ids), pa.string()),
            "measured": pa.FixedSizeListArray.from_arrays(flat, n_genes),
        }
    )
    with whole_file(path) as temporary, pa.ipc.new_file(temporary, table.schema) as writer:
        writer.write_table(table)


def read_measured(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Return the dataset ids in the order of their codes, and the mask datasets × vocabulary genes (bool).

    Raises
    ------
    WcedError
        If the file is not there, or is something else.
    """
    try:
        with pa.memory_map(str(existing(path, "the measured genes of the corpus"))) as source:
            table = pa.ipc.open_file(source).read_all()
        flat = table["measured"].combine_chunks().flatten()
        dataset_ids = table["dataset_id"].to_pylist()
    except (pa.ArrowException, OSError, KeyError) as failure:
        raise WcedError(f"{path}: not the measured genes of a corpus ({failure}); make it again") from None
    return dataset_ids, flat.to_numpy(zero_copy_only=False).reshape(len(dataset_ids), -1)
