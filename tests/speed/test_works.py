from itertools import combinations

import anndata as ad
import numpy as np
import pytest

from speed import generate, loaders, works
from speed.systems import BATCH_WORKS, INPUTS
from wced.shards.batches import BatchDataset
from wced.shards.reader import ShardSet

CELLS = 150


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "data"
    generate.write_data(folder, CELLS, seed=0)
    return folder


@pytest.fixture
def job(data):
    def make(system, work, length=64):
        return {"system": system, "work": work, "length": length, "data": str(data), "device": "cpu", "workers": 0}

    return make


def test_existing_cells_are_used_again(data):
    before = (data / "cells.h5ad").stat().st_mtime_ns
    generate.write_data(data, CELLS, seed=0)
    assert (data / "cells.h5ad").stat().st_mtime_ns == before


@pytest.mark.parametrize("work", BATCH_WORKS)
@pytest.mark.parametrize(("system", "times"), [("ours", 1), ("ours_4x_cells", 4)])
def test_an_epoch_of_ours_has_every_cell_once(data, job, work, system, times):
    opened = works.open_work(job(system, work))
    for _ in range(2):
        batches = list(opened.epoch())
        joinids = np.concatenate([batch.soma_joinid for batch in batches])
        assert sorted(joinids) == sorted(list(range(CELLS)) * times)
        assert sum(batch.cells for batch in batches) == CELLS * times
        if work == "raw_batches":
            assert sum(batch.tokens for batch in batches) == np.load(data / "nnz.npy").sum() * times
        else:
            positions = 63 if work == "mlm_batches" else 64  # 57 expressed genes, 90%, and 6 zeros
            assert sum(batch.tokens for batch in batches) == positions * CELLS * times
    works.check_counts(opened, data)


@pytest.mark.parametrize("work", ["raw_batches", "wced_batches"])
def test_other_orders_of_ours(data, job, work):
    dataset = np.load(data / "dataset.npy")
    weighted, one = (works.open_work(job(name, work)) for name in ("ours_weighted", "ours_one_dataset"))
    joinids = np.concatenate([batch.soma_joinid for batch in weighted.epoch()])
    assert len(joinids) == CELLS and len(set(joinids)) < CELLS  # frequent types are left out, rare ones come again
    assert all(len(set(dataset[batch.soma_joinid])) == 1 for batch in one.epoch())
    works.check_counts(one, data)


@pytest.mark.parametrize("work", ["wced_batches", "mlm_batches"])
@pytest.mark.parametrize("system", INPUTS)
def test_other_inputs_of_ours_have_the_same_cells(job, work, system):
    opened = works.open_work(job(system, work))
    batches = list(opened.epoch())
    assert sorted(np.concatenate([batch.soma_joinid for batch in batches])) == list(range(CELLS))
    assert 0 < sum(batch.tokens for batch in batches) <= 64 * CELLS


def test_peers_raw_counts_are_finished_as_ours_are(data, job, monkeypatch):
    """The same cells in the same batches become the same sequences, whoever delivers their counts."""
    x_ng = ad.read_h5ad(data / "cells.h5ad").X

    def stub(folder, seed):
        def epoch():
            for rows in np.array_split(np.arange(CELLS), 3):
                part = x_ng[rows]
                yield part.indptr, part.indices, part.data, rows

        return epoch, 50

    monkeypatch.setitem(loaders.OPEN, "stub", stub)
    for work in BATCH_WORKS:
        done = list(works.open_work(job("stub", work, 1024)).epoch())
        ours = list(works.open_work(job("ours", work, 1024)).epoch())
        assert sum(batch.tokens for batch in done) == sum(batch.tokens for batch in ours)
    works.check_counts(works.open_work(job("stub", "raw_batches")), data)


def test_dense_target_is_the_flat_one_scattered(data):
    shards = ShardSet(data / "shards")
    encoding = works.encoding("wced_batches", 32)
    batch = BatchDataset(shards, "train", encoding, batch_size=10, training=True, seed=0)[(0, 1)]
    dense = works._dense(batch, len(shards.vocabulary), "cpu").numpy()
    expected = np.zeros_like(dense)
    rows = np.repeat(np.arange(10), np.diff(batch["target_offsets"]))
    expected[rows, batch["target_gene"]] = batch["target_value"]
    assert dense.shape == (10, generate.GENES) and (dense == expected).all()


@pytest.mark.parametrize("work", BATCH_WORKS)
def test_the_floor_copies_what_ours_deliver(job, work):
    batch = next(iter(works.open_work(job("copy_floor", work)).epoch()))
    ours = list(works.open_work(job("ours", work)).epoch())
    assert batch.tokens / batch.cells == pytest.approx(sum(b.tokens for b in ours) / CELLS, rel=0.02)


def test_shards_are_written_and_read_whole(data, job):
    read, written = (list(works.open_work(job(name, "write_shards")).epoch()) for name in ("tiledbsoma", "ours"))
    nonzeros = np.load(data / "nnz.npy").sum()
    for done in (read, written):
        assert sum(batch.cells for batch in done) == CELLS and sum(batch.tokens for batch in done) == nonzeros
    assert [path.name for path in data.parent.iterdir() if path.name.startswith(".shards")] == []


def test_shards_are_at_most_three_times_as_large_as_a_compressed_h5ad(data, tmp_path):
    ad.AnnData(ad.read_h5ad(data / "cells.h5ad").X).write_h5ad(tmp_path / "cells.h5ad", compression="gzip")
    shards = sum(path.stat().st_size for path in (data / "shards").glob("shard-*.arrow"))
    assert shards < 3 * (tmp_path / "cells.h5ad").stat().st_size


def test_wrong_counts_are_refused(data):
    def wrong():
        yield works.Done(2, 0, np.array([0, 1]), lambda: np.array([1.0, 2.0]))

    with pytest.raises(ValueError, match="other counts"):
        works.check_counts(works.Work(wrong, None), data)


@pytest.mark.parametrize(
    ("unit", "seconds", "cells"), [(None, 0, 10), (4, 0, 4), (4, 1e-9, 4), (20, 0, 10)],
    ids=["whole_epoch", "first_unit", "unit_after_the_time", "unit_beyond_the_epoch"],
)  # fmt: skip
def test_timing_ends_with_an_epoch_or_a_unit(unit, seconds, cells):
    def epoch():
        yield from (works.Done(2, 3, np.array([0, 1])) for _ in range(5))

    result = works.timed(works.Work(epoch, unit), seconds)
    assert (result["cells"], result["tokens"]) == (cells, cells * 3 // 2)
    assert len(result["identities"]) == cells // 2 and result["seconds"] > 0


@pytest.mark.parametrize(
    ("classes", "bits"),
    [([1, 1, 1, 1], 0.0), ([0, 1, 0, 1], 1.0), ([0, 1, 2, 3], 2.0), ([0, 0, 0, 5], 0.25 * 2 + 0.75 * np.log2(4 / 3))],
    ids=["one", "two", "four", "unequal"],
)
def test_entropy_of_a_batch(classes, bits):
    assert works.entropy(np.array(classes)) == pytest.approx(bits)


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_full_shuffle_is_the_mean_over_every_possible_batch(size):
    dataset = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2])
    brute = np.mean([works.entropy(dataset[list(chosen)]) for chosen in combinations(range(len(dataset)), size)])
    assert works.full_shuffle_entropy(dataset, size) == pytest.approx(brute)


def test_means_are_over_batches_of_any_size():
    dataset = np.repeat(np.arange(20), np.arange(1, 21))
    shuffled = np.random.default_rng(0).permuted(np.tile(dataset, (2000, 1)), axis=1)
    mean, expected = works.mean_entropies([*shuffled[:, :30], *shuffled[:, 30:40]], dataset)
    assert mean == pytest.approx(expected, rel=0.01)
    mean, expected = works.mean_entropies(np.split(dataset, [100, 200]), dataset)
    assert mean < 0.8 * expected
    assert np.isnan(works.mean_entropies([], dataset)).all()
