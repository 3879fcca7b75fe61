"""Open a folder of shards as one memory-mapped set of cells."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wced.errors import WcedError
from wced.files import existing, sha256
from wced.shards import FORMAT_VERSION, mapped
from wced.shards.cells import CellViews, RaggedCells, id_dtype
from wced.shards.encode import measured_counts
from wced.shards.facts import SPLITS, fact_types
from wced.shards.memory import arrays
from wced.shards.vocabulary import Labels, Vocabulary, read_measured, versioned_json

INDEX = "index.json"


def folder_of(index: str | Path) -> Path:
    """Return the folder of an index of shards; raise WcedError if there is none of this name."""
    index = existing(index, "the index of the shards")
    if index.name != INDEX:
        raise WcedError(f"{index}: the index of the shards is called {INDEX}")
    return index.parent


class ShardSet:
    """All cells of a run's shards. Everything about a cell stays on disk until a batch asks for it.

    A cell is named by its *place*: its number in the order of shards and rows.

    Attributes
    ----------
    vocabulary, labels
        Genes, and what is known of a cell besides its counts.
    label_columns, number_columns
        Names of the columns of a batch's `labels` and `numbers`.
    dataset_ids, measured_dv, measured_d
        Datasets in the order of their codes; bool, datasets × genes: which genes each measured; how many, int64.
    """

    def __init__(self, folder: str | Path, *, verify: bool = False) -> None:
        """Open the shards of a folder through its index.

        Raises
        ------
        WcedError
            If a file is missing or broken, has another format version, vocabulary or row count, was made from other
            cells, or (with `verify`, which reads every byte) has another checksum than the index says.
        """
        self.folder = folder = Path(folder)
        keys = ("vocabulary_sha256", "inputs_sha256", "files", "shards")
        index = versioned_json(folder / INDEX, "the index of the shards", keys)
        self.vocabulary = Vocabulary.read(folder / "vocabulary.tsv")
        self.labels = Labels.read(folder / "labels.json")
        self.label_columns, self.number_columns = self.labels.columns, self.labels.number_columns
        self.dataset_ids, self.measured_dv = read_measured(folder / "measured.arrow")
        self.measured_d = measured_counts(self.measured_dv)
        if self.vocabulary.sha256 != index["vocabulary_sha256"]:
            raise WcedError(f"{folder / 'vocabulary.tsv'}: not the vocabulary that the index was made with")
        if self.measured_dv.shape[1] != len(self.vocabulary):
            raise WcedError(f"{folder / 'measured.arrow'}: written for another vocabulary than the index")
        for name, checksum in index["files"].items():
            if sha256(existing(folder / name, "a file of the index")) != checksum:
                raise WcedError(f"{folder / name}: not the file that the index was made with")
        self._batches: list[pa.RecordBatch] = []  # keeps the mapped files open
        self._types = fact_types(self.labels)
        for row in index["shards"]:
            self._batches += _open_shard(folder / row["file"], row, index, verify)
        sizes = [batch.num_rows for batch in self._batches]
        self._starts = np.cumsum([0, *sizes], dtype=np.int64)[:-1]
        self._sizes = np.array(sizes, np.int64)
        self._cells = int(self._sizes.sum())
        self._at = {name: _addresses(batch[name] for batch in self._batches) for name in self._types}
        self._labels_at, self._numbers_at = (
            np.array([self._at[name] for name in names], np.int64).reshape(len(names), len(self._batches))
            for names in (self.label_columns, self.number_columns)
        )
        self._at["gene"] = _addresses(batch["gene"].values for batch in self._batches)
        self._at["count"] = _addresses(batch["count"].values for batch in self._batches)
        self._at["offsets"] = _addresses(batch["gene"].offsets for batch in self._batches)

    def __reduce__(self) -> tuple[Any, ...]:
        """Open the folder again in another process; a worker of a loader gets this instead of the data."""
        return ShardSet, (self.folder,)

    def __len__(self) -> int:
        return self._cells

    def count(self, split: str) -> int:
        """Return how many cells of a split have any vocabulary gene; only these are ever used."""
        return self._eligible(split, 0, len(self), np.empty(0, np.int64))

    def places(self, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the places of those cells in [start, stop), ascending; int64."""
        stop = len(self) if stop is None else stop
        places = np.empty(self._eligible(split, start, stop, np.empty(0, np.int64)), np.int64)
        self._eligible(split, start, stop, places)
        return places

    def _eligible(self, split: str, start: int, stop: int, places: np.ndarray) -> int:
        return mapped.eligible(
            start, stop, self._starts, self._sizes, self._at["offsets"], self._at["split"], SPLITS.index(split), places
        )

    def blocks(self, split: str, block_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Cut a split into blocks of cells that lie one after the other.

        Returns
        -------
        bounds
            int64, (blocks + 1,): block b lies in the places bounds[b] to bounds[b + 1].
        cells
            int64, (blocks,): its cells of the split, `block_cells` of them in all blocks but the last.
        """
        most = -(-len(self) // block_cells)
        bounds, cells = np.zeros(most + 1, np.int64), np.zeros(most, np.int64)
        blocks = mapped.block_bounds(
            self._starts, self._sizes, self._at["offsets"], self._at["split"], SPLITS.index(split), block_cells, bounds,
            cells,
        )  # fmt: skip
        return bounds[: blocks + 1], cells[:blocks]

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return a column of `wced.shards.facts.fact_types` for the cells at some places; codes are -1 for unknown."""
        values = np.empty(len(cells), self._types[name])
        mapped.copy_column(cells, self._starts, self._at[name], values)
        return values

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these cells; int64, (n + 1,)."""
        offsets = np.empty(len(cells) + 1, np.int64)
        mapped.ends(cells, self._starts, self._at["offsets"], offsets)
        return offsets

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Copy some cells, in the order asked for, into flat arrays.

        Parameters
        ----------
        cells
            int64, (n,): places in the set.
        """
        offsets = self.offsets(cells)
        made = arrays({"gene": ((offsets[-1],), id_dtype(len(self.vocabulary))), "count": ((offsets[-1],), np.uint32)})
        mapped.copy_genes(
            cells, self._starts, self._at["offsets"], self._at["gene"], self._at["count"], offsets, *made.values()
        )
        return RaggedCells(offsets, **made, **self._facts(cells))

    def views(self, cells: np.ndarray) -> CellViews:
        """Return where some cells lie in the mapped files, in the order asked for; what `encode` takes."""
        offsets, like = np.empty(len(cells) + 1, np.int64), np.empty(0, id_dtype(len(self.vocabulary)))
        gene_at, count_at = np.empty((2, len(cells)), np.int64)
        mapped.locate_genes(
            cells, self._starts, self._at["offsets"], self._at["gene"], self._at["count"], like.itemsize, 4, offsets,
            gene_at, count_at,
        )  # fmt: skip
        return CellViews(offsets, gene_at, count_at, like, **self._facts(cells), owner=self)

    def _facts(self, cells: np.ndarray) -> dict[str, np.ndarray | None]:
        """Return what is known of cells besides their counts."""
        labels, numbers = np.empty((len(cells), len(self.label_columns)), np.int32), None
        mapped.copy_columns(cells, self._starts, self._labels_at, labels)
        if self.number_columns:
            numbers = np.empty((len(cells), len(self.number_columns)), np.float32)
            mapped.copy_columns(cells, self._starts, self._numbers_at, numbers)
        perturbations = self.labels.perturbations
        return {
            "soma_joinid": self.column("soma_joinid", cells),
            "dataset": self.column("dataset", cells),
            "labels": labels,
            "numbers": numbers,
            "perturbed": None if perturbations is None else perturbations.gene_pm[self.column("perturbed", cells)],
        }


def _open_shard(path: Path, row: dict[str, Any], index: dict[str, Any], verify: bool) -> list[pa.RecordBatch]:
    """Return the mapped record batches of a shard after checking that it is what the index says."""
    if verify and sha256(existing(path, "a shard of the index")) != row["sha256"]:
        raise WcedError(f"{path}: its checksum is not the one in the index; make the shard again")
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(existing(path, "a shard of the index"))))
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        for batch in batches:
            batch.validate()  # a damaged length must not lead beyond the file
    except (pa.ArrowException, OSError) as failure:
        raise WcedError(f"{path}: not a whole Arrow file ({failure}); make the shard again") from None
    metadata = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (reader.schema.metadata or {}).items()
    }
    version = metadata.get("wced.format_version", "none")
    if version != str(FORMAT_VERSION):
        raise WcedError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}; make the shard again")
    if metadata.get("wced.vocabulary_sha256") != index["vocabulary_sha256"]:
        raise WcedError(f"{path}: written for another vocabulary than the index")
    if metadata.get("wced.inputs_sha256") != index["inputs_sha256"]:
        raise WcedError(f"{path}: made from other cells than the index")
    if sum(batch.num_rows for batch in batches) != row["cells"]:
        raise WcedError(f"{path}: holds another number of cells than the index says")
    return [batch for batch in batches if batch.num_rows]


def _addresses(arrays: Any) -> np.ndarray:
    """Return where the values of Arrow arrays without nulls lie in memory; int64."""
    return np.array([_address(array) if len(array) else 0 for array in arrays], np.int64)


def _address(array: pa.Array) -> int:
    return array.buffers()[1].address + array.offset * (array.type.bit_width // 8)
