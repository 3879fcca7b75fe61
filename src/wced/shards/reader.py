"""Open a folder of shards as one memory-mapped set of cells."""

from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa

from wced.errors import WcedError
from wced.files import existing, sha256
from wced.shards import FORMAT_VERSION
from wced.shards.cells import RaggedCells
from wced.shards.vocabulary import LABEL_COLUMNS, Labels, Vocabulary, read_measured, versioned_json
from wced.shards.write import SPLITS


@dataclass(frozen=True)
class _Piece:
    """One record batch as zero-copy numpy views; `start` is its first cell in the whole set."""

    start: int
    offsets: np.ndarray
    gene: np.ndarray
    count: np.ndarray


@numba.njit(nogil=True, cache=True)
def _copy_cells(rows, source_offsets, source_gene, source_count, slots, offsets, gene, count):
    """Copy the genes of `rows` of one record batch to the places `slots` of a batch."""
    for k in range(len(rows)):
        begin, end = source_offsets[rows[k]], source_offsets[rows[k] + 1]
        to = offsets[slots[k]]
        gene[to : to + end - begin] = source_gene[begin:end]
        count[to : to + end - begin] = source_count[begin:end]


class ShardSet:
    """All cells of a run's shards; genes stay on disk until a batch takes them.

    Attributes
    ----------
    vocabulary, labels
        Genes and classes.
    dataset_ids, measured_dv
        Datasets in the order of their codes, and bool datasets × genes: which genes each measured.
    split
        int8, (cells,): code in `SPLITS`.
    soma_joinid, dataset, label_codes, nonzeros
        Per cell: int64, int32, int32 (cells × label columns), int64.
    """

    def __init__(self, folder: str | Path, *, verify: bool = False) -> None:
        """Open the shards of a folder through its index.

        Raises
        ------
        WcedError
            If a file is missing or broken, has another format version, vocabulary or row count, or (with
            `verify`, which reads every byte) another checksum than the index says.
        """
        folder = Path(folder)
        index = versioned_json(folder / "index.json", "the index of the shards")
        self.vocabulary = Vocabulary.read(folder / "vocabulary.tsv")
        self.labels = Labels.read(folder / "labels.json")
        self.dataset_ids, self.measured_dv = read_measured(folder / "measured.arrow")
        if self.vocabulary.sha256 != index["vocabulary_sha256"]:
            raise WcedError(f"{folder / 'vocabulary.tsv'}: not the vocabulary that the index was made with")
        if self.measured_dv.shape[1] != len(self.vocabulary):
            raise WcedError(f"{folder / 'measured.arrow'}: written for another vocabulary than the index")
        self._pieces: list[_Piece] = []
        columns: dict[str, list[np.ndarray]] = {
            name: [] for name in ("soma_joinid", "split", "dataset", "nonzeros", *LABEL_COLUMNS)
        }
        self._maps = []
        start = 0
        for row in index["shards"]:
            path = existing(folder / row["file"], "a shard of the index")
            if verify and sha256(path) != row["sha256"]:
                raise WcedError(f"{path}: its checksum is not the one in the index; make the shard again")
            self._maps.append(pa.memory_map(str(path)))
            try:
                reader = pa.ipc.open_file(self._maps[-1])
                batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            except pa.ArrowInvalid as failure:
                raise WcedError(f"{path}: not a whole Arrow file ({failure}); make the shard again") from None
            metadata = reader.schema.metadata or {}
            version = metadata.get(b"wced.format_version", b"none").decode()
            if version != str(FORMAT_VERSION):
                raise WcedError(
                    f"{path}: format version {version}, this program reads {FORMAT_VERSION}; make the shard again"
                )
            if metadata.get(b"wced.vocabulary_sha256", b"").decode() != index["vocabulary_sha256"]:
                raise WcedError(f"{path}: written for another vocabulary than the index")
            if sum(batch.num_rows for batch in batches) != row["cells"]:
                raise WcedError(f"{path}: holds another number of cells than the index says")
            for batch in batches:
                offsets = batch["gene"].offsets.to_numpy()
                self._pieces.append(
                    _Piece(start, offsets, batch["gene"].values.to_numpy(), batch["count"].values.to_numpy())
                )
                for name, values in columns.items():
                    values.append(np.diff(offsets) if name == "nonzeros" else batch[name].to_numpy())
                start += batch.num_rows
        joined = {name: np.concatenate(values) for name, values in columns.items()}
        self._starts = np.array([piece.start for piece in self._pieces], np.int64)
        self.soma_joinid, self.split = joined["soma_joinid"], joined["split"]
        self.dataset = joined["dataset"]
        self.nonzeros = joined["nonzeros"].astype(np.int64)
        self.label_codes = np.stack([joined[column] for column in LABEL_COLUMNS], axis=1)

    def __len__(self) -> int:
        return len(self.soma_joinid)

    def cells_of(self, split: str) -> np.ndarray:
        """Return the places of a split's cells in the set that have any vocabulary gene, ascending; int64."""
        return np.flatnonzero((self.split == SPLITS.index(split)) & (self.nonzeros > 0))

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Copy some cells, in the order asked for, into flat arrays.

        Parameters
        ----------
        cells
            int64, (n,): places in the set.
        """
        offsets = np.concatenate([[0], np.cumsum(self.nonzeros[cells])])
        gene = np.empty(offsets[-1], self._pieces[0].gene.dtype)
        count = np.empty(offsets[-1], np.uint32)
        piece_of_cell = np.searchsorted(self._starts, cells, side="right") - 1
        for number in np.unique(piece_of_cell):
            piece, slots = self._pieces[number], np.flatnonzero(piece_of_cell == number)
            _copy_cells(cells[slots] - piece.start, piece.offsets, piece.gene, piece.count, slots, offsets, gene, count)
        return RaggedCells(offsets, gene, count, self.soma_joinid[cells], self.dataset[cells], self.label_codes[cells])
