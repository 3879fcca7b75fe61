import pickle

import numpy as np
import pytest

from count_cells import encoding
from memory_source import order
from wced.errors import WcedError
from wced.shards.batches import BatchDataset, BatchLoader
from wced.shards.counts import CountReader
from wced.shards.reader import ShardSet
from wced.shards.stream import CensusCells
from wced.shards.vocabulary import SPLITS, fact_types

ENCODING = encoding(length=24, dropout=0.2, zeros="interleave", mlm={"mask": 0.9})
SHUFFLED = order(block_cells=16, buffer_blocks=4)


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture
def stream(made):
    def make(**options):
        return CensusCells(made.run.census, made.cells, made.shards / "vocabulary.tsv", made.census, **options)

    return make


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name].numpy(), other[name].numpy(), err_msg=name)


@pytest.mark.parametrize("encoding", [ENCODING, None], ids=["encoded", "raw"])
@pytest.mark.parametrize(("split", "order"), [("train", SHUFFLED), ("validation", None)], ids=["train", "validation"])
def test_batches_are_those_of_the_shards(shards, stream, encoding, split, order):
    options = {"batch_size": 50, "training": split == "train", "order": order, "seed": 1}
    loaders = [BatchLoader(BatchDataset(source, split, encoding, **options)) for source in (shards, stream())]
    for _ in range(2):
        left, right = (list(loader) for loader in loaders)
        assert len(left) > 1
        for one, other in zip(left, right, strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize("encoding", [ENCODING, None], ids=["encoded", "raw"])
def test_batches_of_chosen_columns_are_those_of_the_shards(made, annotated, encoding):
    streamed = CensusCells(made.run.census, annotated.cells, annotated.shards / "vocabulary.tsv", made.census)
    one, other = (
        BatchDataset(source, "train", encoding, batch_size=90, training=True, order=SHUFFLED, seed=1)[0, 1]
        for source in (ShardSet(annotated.shards), streamed)
    )
    assert_equal(one, other)
    assert one["numbers"].shape == (len(one["labels"]), 3)
    assert "gene_state" in one if encoding else "perturbed" in one


def test_the_interface_is_that_of_the_shards(shards, stream):
    cells = stream()
    assert len(cells) == len(shards)
    assert cells.vocabulary == shards.vocabulary and cells.labels == shards.labels
    assert cells.dataset_ids == shards.dataset_ids
    np.testing.assert_array_equal(cells.measured_dv, shards.measured_dv)
    for split in SPLITS:
        assert cells.count(split) == shards.count(split)
        for bounds in ((), (10, 200), (10, 10), (len(shards),)):
            np.testing.assert_array_equal(cells.places(split, *bounds), shards.places(split, *bounds))
        for block_cells in (1, 16, cells.count(split), 10_000):
            for one, other in zip(cells.blocks(split, block_cells), shards.blocks(split, block_cells), strict=True):
                np.testing.assert_array_equal(one, other)
    places = np.array([5, 500, 3, 77])
    np.testing.assert_array_equal(cells.offsets(places), shards.offsets(places))
    assert cells.label_columns == shards.label_columns and cells.number_columns == shards.number_columns
    for name in fact_types(shards.labels):
        assert cells.column(name, places).dtype == shards.column(name, places).dtype
        np.testing.assert_array_equal(cells.column(name, places), shards.column(name, places))


def count_reads(monkeypatch):
    """Cells that each call reads from X."""
    reads, read = [], CountReader.read
    monkeypatch.setattr(
        CountReader, "read", lambda self, joinids, *rest: reads.append(joinids.tolist()) or read(self, joinids, *rest)
    )
    return reads


@pytest.mark.parametrize("split", SPLITS)
def test_an_epoch_reads_each_block_once(stream, monkeypatch, split):
    reads = count_reads(monkeypatch)
    cells = stream(cached_cells=2 * 4 * 16 + 16)
    dataset = BatchDataset(cells, split, None, batch_size=20, training=True, order=SHUFFLED, seed=1)
    for _ in BatchLoader(dataset):
        assert sum(len(places) for places, _ in cells._kept.values()) <= 2 * 4 * 16 + 16
    read = [joinid for joinids in reads for joinid in joinids]
    assert sorted(read) == cells.column("soma_joinid", cells.places(split)).tolist()


def test_what_is_not_kept_is_read_again(stream, monkeypatch):
    cells = stream(cached_cells=1)
    cells.blocks("train", 16)
    places = cells.places("train")
    whole = cells.take(places)
    reads = count_reads(monkeypatch)
    for _ in range(2):
        taken = cells.take(places[[0, 100, 1]])
        np.testing.assert_array_equal(taken.gene[: taken.offsets[1]], whole.gene[: whole.offsets[1]])
    assert len(reads) == 2 and len(reads[0]) == 32


def test_a_stream_goes_to_another_process(stream):
    cells = stream(cached_cells=99)
    cells.blocks("train", 7)
    other = pickle.loads(pickle.dumps(cells))
    places = cells.places("train")[[3, 1, 200]]
    np.testing.assert_array_equal(cells.take(places).count, other.take(places).count)
    assert other._cached_cells == 99


def test_a_cell_without_a_gene_of_the_vocabulary_is_refused(stream, monkeypatch):
    cells = stream()
    cells._reader.vocabulary_id[:] = -1
    joinid = cells.column("soma_joinid", np.array([7]))[0]
    with pytest.raises(WcedError, match=f"^cell {joinid} expresses no gene of the vocabulary"):
        cells.take(np.array([7]))
