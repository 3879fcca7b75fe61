"""Open a folder of shards as one memory-mapped set of cells."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wced.errors import WcedError
from wced.files import existing, sha256
from wced.shards import FORMAT_VERSION, mapped
from wced.shards.cells import CellSource, CellViews, RaggedCells, id_dtype
from wced.shards.memory import arrays
from wced.shards.vocabulary import SPLITS, Labels, Vocabulary, fact_types, read_measured, versioned_json

INDEX = "index.json"


def folder_of(index: str | Path) -> Path:
    """Return the folder of an index of shards; raise WcedError if there is none of this name."""
    index = existing(index, "the index of the shards")
    if index.name != INDEX:
        raise WcedError(f"{index}: the index of the shards is called {INDEX}")
    return index.parent


class ShardSet(CellSource):
    """All cells of a run's shards. Everything about a cell stays on disk until a batch needs it.

    The row of a cell is its number in the order of shards and their rows.
    """

    def __init__(self, folder: str | Path, *, verify: bool = False, share: float = 1.0, share_seed: int = 0) -> None:
        """Open the shards of a folder through its index.

        Raises WcedError if a file is missing or broken, has another format version, vocabulary or row count, was made
        from other cells, or (with `verify`, which reads every byte) has another checksum than the index says.
        """
        self.folder = folder = Path(folder)
        self.share, self.share_seed = share, share_seed
        keys = ("vocabulary_sha256", "inputs_sha256", "files", "shards")
        index = versioned_json(folder / INDEX, "the index of the shards", keys)
        self.vocabulary = Vocabulary.read(folder / "vocabulary.tsv")
        self.labels = Labels.read(folder / "labels.json")
        self.dataset_ids, self.measured_dv = read_measured(folder / "measured.arrow")
        if self.vocabulary.sha256 != index["vocabulary_sha256"]:
            raise WcedError(f"{folder / 'vocabulary.tsv'}: not the vocabulary that the index was made with")
        if self.measured_dv.shape[1] != len(self.vocabulary):
            raise WcedError(f"{folder / 'measured.arrow'}: written for another vocabulary than the index")
        for name, checksum in index["files"].items():
            if sha256(existing(folder / name, "a file of the index")) != checksum:
                raise WcedError(f"{folder / name}: not the file that the index was made with")
        opened = (_open_shard(folder / row["file"], row, index, verify) for row in index["shards"])
        self._batches = batches = list(chain.from_iterable(opened))  # keeps the mapped files open
        self._sizes = np.array([batch.num_rows for batch in batches], np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._types = fact_types(self.labels)
        self._at = {name: _addresses(batch[name] for batch in batches) for name in self._types}
        self._tables_at = {
            names: np.array([self._at[name] for name in names], np.int64).reshape(len(names), len(batches))
            for names in (self.label_columns, self.number_columns)
        }
        self._offsets_at = _addresses(batch["gene"].offsets for batch in batches)
        self._gene_at, self._count_at = (
            _addresses(batch[name].values for batch in batches) for name in ("gene", "count")
        )
        self._no_ids = np.empty(0, id_dtype(len(self.vocabulary)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Open the folder again in another process; a worker of a loader gets this instead of the data."""
        return partial(ShardSet, share=self.share, share_seed=self.share_seed), (self.folder,)

    def __len__(self) -> int:
        return int(self._sizes.sum())

    def _places(self, split: str, start: int, stop: int) -> np.ndarray:
        where = (start, stop, self._starts, self._sizes, self._offsets_at, self._at["split"], SPLITS.index(split))
        rows = np.empty(mapped.eligible(*where, np.empty(0, np.int64)), np.int64)
        mapped.eligible(*where, rows)
        return rows

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return a column of `wced.shards.vocabulary.fact_types` of cells by row; codes are -1 for unknown."""
        return self._copied(cells, self._at[name][None], self._types[name])[:, 0]

    def _table(self, names: Sequence[str], cells: np.ndarray, dtype: type) -> np.ndarray:
        return self._copied(cells, self._tables_at[names], dtype)

    def _copied(self, cells: np.ndarray, columns_at: np.ndarray, dtype: type) -> np.ndarray:
        values = np.empty((len(cells), len(columns_at)), dtype)
        mapped.copy_columns(cells, self._starts, columns_at, values)
        return values

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these cells; int64, (n + 1,)."""
        return self._located(cells)[0]

    def _located(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the offsets of cells in flat arrays, and the addresses of their genes and counts; int64."""
        offsets = np.empty(len(cells) + 1, np.int64)
        gene_at, count_at = np.empty((2, len(cells)), np.int64)
        mapped.locate_genes(
            cells, self._starts, self._offsets_at, self._gene_at, self._count_at, self._no_ids.itemsize,
            offsets, gene_at, count_at,
        )  # fmt: skip
        return offsets, gene_at, count_at

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Copy cells by row, in the order of `cells`, into flat arrays."""
        offsets, gene_at, count_at = self._located(cells)
        flat = arrays({"gene": ((offsets[-1],), self._no_ids.dtype), "count": ((offsets[-1],), np.uint32)})
        mapped.copy_genes(offsets, gene_at, count_at, *flat.values())
        return RaggedCells(offsets, **flat, **self._facts(cells))

    def views(self, cells: np.ndarray) -> CellViews:
        """Return where cells lie in the mapped files, by row, in the order of `cells`; what `encode` takes."""
        offsets, gene_at, count_at = self._located(cells)
        return CellViews(offsets, gene_at, count_at, self._no_ids, **self._facts(cells), owner=self)


def shard_metadata(schema: pa.Schema) -> dict[str, str]:
    """Return the metadata of a shard, keys without the prefix `wced.`."""
    pairs = [[part.decode(errors="replace") for part in pair] for pair in (schema.metadata or {}).items()]
    return {key.removeprefix("wced."): value for key, value in pairs}


def check_origin(path: Path, schema: pa.Schema, expected: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of a shard; raise WcedError if it has another format, vocabulary or inputs than expected."""
    metadata = shard_metadata(schema)
    version = metadata.get("format_version", "none")
    if version != str(FORMAT_VERSION):
        raise WcedError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}; make the shard again")
    if metadata.get("vocabulary_sha256") != expected["vocabulary_sha256"]:
        raise WcedError(f"{path}: written for another vocabulary; make the shard again")
    if metadata.get("inputs_sha256") != expected["inputs_sha256"]:
        raise WcedError(f"{path}: stale: made from other cells, labels or measured genes; make the shard again")
    return metadata


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
    check_origin(path, reader.schema, index)
    if sum(batch.num_rows for batch in batches) != row["cells"]:
        raise WcedError(f"{path}: holds another number of cells than the index says")
    return [batch for batch in batches if batch.num_rows]


def _addresses(columns: Iterable[pa.Array]) -> np.ndarray:
    """Return the addresses of the values of Arrow arrays without nulls; int64."""
    addresses = [
        column.buffers()[1].address + column.offset * (column.type.bit_width // 8) if len(column) else 0
        for column in columns
    ]
    return np.array(addresses, np.int64)
