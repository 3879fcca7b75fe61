"""What a run's codes mean: genes, labels, numbers and perturbed genes of cells; and what each dataset measured."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from wced.config.corpus import LABEL_COLUMNS
from wced.contracts import are_unknown
from wced.errors import WcedError
from wced.files import existing, whole_file
from wced.genes.names import GeneNames, gene_names, without_version
from wced.shards import FORMAT_VERSION
from wced.tables import read_text

LOCAL_COLUMNS = ("donor_id", "batch")
"""Columns whose values mean something within their dataset only."""

SEPARATOR = ";"
"""Separates the perturbed genes of a cell."""

NO_GENE = frozenset(("", "control", "ctrl", "non-targeting", "none", "na", "nan", "unknown"))
"""Values, in lower case, that name no perturbed gene."""

SPLITS = ("train", "validation")
"""Splits in the order of their codes."""


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


def _codes(names: Sequence[str], values: Sequence[str]) -> np.ndarray:
    """Return the index of each value among the names, -1 where it is none of them; int32."""
    return pd.Index(names).get_indexer(pd.Index(values)).astype(np.int32)


@dataclass(frozen=True)
class Vocabulary:
    """The genes of a model, in the order of their ids."""

    gene_ids: tuple[str, ...]
    """Ensembl ids, sorted; a gene's vocabulary id is its index."""
    symbols: tuple[str, ...]
    """Gene symbols, for people."""
    names: tuple[str, ...] | None = None
    """All names of each gene that no other gene has, `|` between: symbols, previous symbols and aliases. None where
    they were not recorded."""

    def __len__(self) -> int:
        return len(self.gene_ids)

    @property
    def sha256(self) -> str:
        """Hash of the ordered Ensembl ids: equal for equal vocabularies only."""
        return hashlib.sha256("\n".join(self.gene_ids).encode()).hexdigest()

    def ids_of(self, gene_ids: Sequence[str]) -> np.ndarray:
        """Return the vocabulary id of each Ensembl id, -1 for genes outside; int32, (len(gene_ids),)."""
        return _codes(self.gene_ids, gene_ids)

    def subset(self, keep_v: np.ndarray) -> "Vocabulary":
        """Return the vocabulary of the genes for which `keep_v` (bool) holds."""
        columns = (self.gene_ids, self.symbols, self.names)
        return Vocabulary(*(None if column is None else tuple(compress(column, keep_v)) for column in columns))

    def write(self, path: str | Path) -> None:
        """Write `vocabulary.tsv`: id, gene_id, symbol, and names where they were recorded."""
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
    """Return the genes that are protein-coding in the gene table (`wced.genes`) and measured by the corpus.

    `measured_ids` are the Ensembl ids that at least one dataset of the corpus measured.
    """
    coding = genes[genes["protein_coding"] & genes["gene_id"].isin(set(measured_ids))].sort_values("gene_id")
    if coding.empty:
        raise WcedError("vocabulary: the corpus measures no protein-coding gene of the gene table")
    known = gene_names(genes).gene_id
    known = known[known.isin(coding["gene_id"])]
    names = known.index.to_series().groupby(known.to_numpy()).agg("|".join)
    names = names.reindex(coding["gene_id"], fill_value="")
    return Vocabulary(tuple(coding["gene_id"]), tuple(coding["symbol"]), tuple(names))


@dataclass(frozen=True)
class Perturbations:
    """Which perturbed genes the values of a column of obs name."""

    column: str
    """The column."""
    genes: dict[str, tuple[int, ...]]
    """Vocabulary ids, ascending, of each value that names genes; a value's code is its index. Others have code -1."""
    unmarked: dict[str, int]
    """Number of cells by each name outside the vocabulary: these genes are marked nowhere."""

    def codes(self, values: pd.Series) -> np.ndarray:
        """Return the code of each value, -1 where it names no gene; int32, (len(values),)."""
        return _codes(self.genes, values.astype(str))

    @cached_property
    def gene_pm(self) -> np.ndarray:
        """int32, (values + 1, most genes of one): vocabulary ids by code, padded with -1; the last row is code -1's."""
        most = max(map(len, self.genes.values()), default=0)
        rows = [[*ids, *[-1] * (most - len(ids))] for ids in [*self.genes.values(), ()]]
        return np.array(rows, np.int32).reshape(len(rows), most)


def gene_ids_of(values: Sequence[str], vocabulary: Vocabulary, names: GeneNames) -> list[dict[str, int]]:
    """Return the vocabulary id of each gene that a value names, by the name; -1 for genes outside the vocabulary.

    A value has Ensembl ids (with or without version) or symbols, which `names` knows, with `SEPARATOR` between.
    """
    names_of = [
        [name for part in value.split(SEPARATOR) if (name := part.strip()).lower() not in NO_GENE] for value in values
    ]
    unique = pd.unique(np.array([name for own in names_of for name in own], dtype=object))
    ids = vocabulary.ids_of(without_version(unique))
    ids = np.where(ids >= 0, ids, vocabulary.ids_of(names.ids_of(unique)))
    id_of = dict(zip(unique, ids.tolist(), strict=True))
    return [{name: id_of[name] for name in own} for own in names_of]


def make_perturbations(cells: pd.DataFrame, column: str, vocabulary: Vocabulary, names: GeneNames) -> Perturbations:
    """Return the perturbed genes that `column` of cells.parquet names; `names` as in `gene_ids_of`.

    Raises WcedError if there is no such column, or it names no gene of the vocabulary.
    """
    if column not in cells:
        raise WcedError(f"shards.perturbed_column: cells.parquet has no column {column}")
    cells_of = cells[column].astype(str).value_counts().sort_index()
    cells_of = cells_of[cells_of > 0]
    genes, unmarked = {}, {}
    for value, id_of in zip(cells_of.index, gene_ids_of(cells_of.index, vocabulary, names), strict=True):
        ids = tuple(sorted({gene for gene in id_of.values() if gene >= 0}))
        genes |= {value: ids} if ids else {}
        for name, gene in id_of.items():
            if gene < 0:
                unmarked[name] = unmarked.get(name, 0) + int(cells_of[value])
    if not genes:
        raise WcedError(f"shards.perturbed_column: {column} names no gene of the vocabulary in any cell")
    return Perturbations(column, genes, dict(sorted(unmarked.items())))


@dataclass(frozen=True)
class Labels:
    """What shards hold of a cell besides its counts: classes of label columns, numbers, and perturbed genes."""

    classes: dict[str, tuple[str, ...]]
    """Sorted classes by column, those of training cells; a class's code is its index. Donors (and other values of
    `LOCAL_COLUMNS`) are named `dataset_id:donor_id`."""
    unknown_in_validation: dict[str, dict[str, int]]
    """By column, number of validation cells of each class that train lacks; they count as unknown."""
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
        return _codes(self.classes[column], values.astype(str))

    def write(self, path: str | Path) -> None:
        """Write `labels.json`."""
        record = {"format_version": FORMAT_VERSION, **asdict(self)}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> "Labels":
        """Read `labels.json`."""
        record = versioned_json(path, "a table of labels", [field.name for field in fields(cls)])
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
        values = values.where(are_unknown(values), cells["dataset_id"].astype(str) + ":" + values)
    return values


def number_values(cells: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as numbers, NaN for unknown; float32, (cells,).

    Raises WcedError if it has text that is neither a number nor unknown, or a number beyond float32.
    """
    values = cells[column]
    if isinstance(values.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(values.dtype):
        codes, texts = pd.factorize(values.astype(str))
        known = ~are_unknown(texts)
        number = pd.to_numeric(pd.Series(texts).where(known), errors="coerce")
        bad = texts[number.isna() & known]
        if len(bad):
            raise WcedError(f"shards.number_columns: {column} of cells.parquet has {bad[0]!r}, which is no number")
        values = number.to_numpy(np.float64)[codes]
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
    """Return what shards hold of cells, from all rows of cells.parquet, whose `split` says which are for training.

    Raises WcedError if there is no such column, or one of numbers has something else.
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
        known = ~are_unknown(values)
        classes[column] = tuple(sorted(values[known & train].unique()))
        lost = values[known & ~train]
        lost = lost[~lost.isin(set(classes[column]))].value_counts().sort_index()
        unknown[column] = {str(name): int(n) for name, n in lost.items()}
    return Labels(classes, unknown, tuple(number_columns), perturbations)


def fact_types(labels: Labels) -> dict[str, type]:
    """Return the columns of a shard with one value for each cell, counts aside, and their types, in their order."""
    return {
        "soma_joinid": np.int64,
        "split": np.int8,
        "dataset": np.int32,
        **dict.fromkeys(labels.columns, np.int32),
        **dict.fromkeys(labels.number_columns, np.float32),
        **({} if labels.perturbations is None else {"perturbed": np.int32}),
    }


def facts_of(cells: pd.DataFrame, labels: Labels, dataset_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns of `fact_types` for rows of cells.parquet; raise WcedError if these lack a column."""
    perturbations = labels.perturbations
    for name in (*labels.columns, *labels.number_columns, *([] if perturbations is None else [perturbations.column])):
        if name not in cells:
            raise WcedError(f"cells.parquet has no column {name}, which labels.json names")
    facts = {
        "soma_joinid": cells["soma_joinid"].to_numpy(),
        "split": _codes(SPLITS, cells["split"]).astype(np.int8),
        "dataset": _codes(dataset_ids, cells["dataset_id"].astype(str)),
        **{name: labels.codes(name, label_values(cells, name)) for name in labels.columns},
        **{name: number_values(cells, name) for name in labels.number_columns},
    }
    if perturbations is not None:
        facts["perturbed"] = perturbations.codes(cells[perturbations.column])
    return facts


def write_measured(path: str | Path, dataset_ids: Sequence[str], measured_dv: np.ndarray) -> None:
    """Write `measured.arrow`: a row per dataset, in the order of their codes, with a mask over the vocabulary.

    `dataset_ids` are sorted; `measured_dv` is bool, datasets × vocabulary genes: whether the dataset measured the gene.
    """
    masks = pa.FixedSizeListArray.from_arrays(pa.array(measured_dv.ravel()), measured_dv.shape[1])
    table = pa.table({"dataset_id": pa.array(list(dataset_ids), pa.string()), "measured": masks})
    with whole_file(path) as temporary, pa.ipc.new_file(temporary, table.schema) as writer:
        writer.write_table(table)


def read_measured(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Return what `write_measured` wrote; raise WcedError if the file is missing, or something else."""
    try:
        with pa.memory_map(str(existing(path, "the measured genes of the corpus"))) as source:
            table = pa.ipc.open_file(source).read_all()
        flat = table["measured"].combine_chunks().flatten()
        dataset_ids = table["dataset_id"].to_pylist()
    except (pa.ArrowException, OSError, KeyError) as failure:
        raise WcedError(f"{path}: not the measured genes of a corpus ({failure}); make it again") from None
    return dataset_ids, flat.to_numpy(zero_copy_only=False).reshape(len(dataset_ids), -1)
