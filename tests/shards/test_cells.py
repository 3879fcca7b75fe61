import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from count_cells import encoding
from memory_source import MemorySource, order
from wced.shards import cells as source_cells
from wced.shards.batches import BatchDataset
from wced.shards.cells import from_csr, id_dtype
from wced.shards.epochs import EpochOrder
from wced.shards.reader import ShardSet

COUNTS_NG = np.array([[0, 3, 0, 7], [5, 0, 2, 1], [0, 0, 0, 9]])


@pytest.mark.parametrize(
    ("size", "dtype"), [(2**16 - 1, np.uint16), (2**16, np.uint32), (1, np.uint16)], ids=["65535", "65536", "1"]
)
def test_ids_are_as_narrow_as_the_contract_says(size, dtype):
    assert id_dtype(size) is dtype


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray], ids=["csr", "csc", "dense"])
def test_columns_become_ascending_vocabulary_ids(form):
    cells = from_csr(form(COUNTS_NG.astype(np.float32)), np.array([4, 0, 2, -1], np.int32), 5)
    assert len(cells) == 3
    assert cells.offsets.tolist() == [0, 1, 3, 3]
    assert cells.gene.tolist() == [0, 2, 4] and cells.gene.dtype == np.uint16
    assert cells.count.tolist() == [3, 2, 5] and cells.count.dtype == np.uint32
    assert cells.soma_joinid.tolist() == [0, 1, 2]
    assert cells.labels.shape == (3, 0)


def test_stored_zeros_are_no_expressed_genes():
    counts_ng = sparse.csr_matrix(([0.0, 2.0], ([0, 0], [0, 1])), shape=(1, 2))
    cells = from_csr(counts_ng, np.array([0, 1], np.int32), 2)
    assert cells.gene.tolist() == [1] and cells.offsets.tolist() == [0, 1]
    assert counts_ng.nnz == 2  # the caller's matrix is left as it was


def source(n=4000, share=1.0, share_seed=0):
    rng = np.random.default_rng(0)
    train, nonzeros = rng.random(n) < 0.7, rng.integers(0, 5, n)
    return MemorySource(train, np.arange(n) % 3, nonzeros, share=share, share_seed=share_seed)


def test_a_smaller_share_is_part_of_a_larger_one_and_validation_stays_whole():
    cells = source()
    shares = {share: source(share=share, share_seed=5) for share in (0.05, 0.3, 0.9)}
    places = {share: part.places("train") for share, part in shares.items()}
    assert set(places[0.05]) < set(places[0.3]) < set(places[0.9]) < set(cells.places("train"))
    whole = cells.count("train")
    for share, part in shares.items():
        assert part.count("train") == len(places[share]) == pytest.approx(share * whole, abs=4 * whole**0.5 / 2)
        assert part.places("validation").tolist() == cells.places("validation").tolist()
        assert part.count("validation") == cells.count("validation") and len(part) == len(cells)
        for mine, theirs in zip(part.blocks("validation", 7), cells.blocks("validation", 7), strict=True):
            assert mine.tolist() == theirs.tolist()
    per_dataset = np.bincount(cells.dataset[places[0.3]]) / np.bincount(cells.dataset[cells.places("train")])
    assert per_dataset == pytest.approx(0.3, abs=0.06)
    assert set(places[0.3]) != set(source(share=0.3, share_seed=6).places("train"))


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 300), share=st.floats(0.01, 0.99), block_cells=st.integers(1, 40), chunk=st.integers(1, 90),
)  # fmt: skip
def test_blocks_hold_the_chosen_cells(n, share, block_cells, chunk):
    part = source(n, share, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_cells, "CHUNK_CELLS", chunk)
        bounds, cells = part.blocks("train", block_cells)
    found = [part.places("train", start, stop) for start, stop in pairwise(bounds)]
    assert np.concatenate([*found, np.empty(0, int)]).tolist() == part.places("train").tolist()
    assert [len(places) for places in found] == cells.tolist()
    assert (cells[:-1] == block_cells).all() and (cells > 0).all()


def test_shards_of_a_share_travel_to_another_process(made):
    whole, part = ShardSet(made.shards), ShardSet(made.shards, share=0.5, share_seed=2)
    assert 0 < part.count("train") < whole.count("train") and part.count("validation") == whole.count("validation")
    assert pickle.loads(pickle.dumps(part)).places("train").tolist() == part.places("train").tolist()


@pytest.mark.parametrize("strategy", ["shuffled", "round_robin", "weighted"])
@pytest.mark.parametrize("epoch_cells", [40, 333, 5000])
def test_epochs_of_a_given_length_go_on_where_the_last_ended(strategy, epoch_cells):
    cells = source(1000)
    once, long = (EpochOrder(cells, "train", order(strategy, epoch_cells=n), 3) for n in (None, epoch_cells))
    assert (len(once), len(long)) == (cells.count("train"), epoch_cells)
    passes = np.concatenate([once.cells(0, len(once) * epoch, len(once) * (epoch + 1)) for epoch in range(11)])
    steps = [long.run(epoch, step, 4, 1).bounds for epoch in range(5000 // epoch_cells) for step in range(4)]
    epochs = np.concatenate([long.cells(0, *bounds) for bounds in steps])
    own = long.cells(0, epoch_cells + 7, epoch_cells + 12)
    assert own.tolist() == passes[epoch_cells + 7 : epoch_cells + 12].tolist()
    assert epochs.tolist() == passes[: len(epochs)].tolist() and len(epochs) == 5000 // epoch_cells * epoch_cells
    sample = 2 * epoch_cells + 5
    assert long.turn(2, 5, epoch_cells) == (sample // len(once) if strategy == "shuffled" else sample)


def test_a_cell_that_comes_often_has_another_input_each_time():
    cells = MemorySource(np.ones(300, bool), dataset=np.arange(300) < 3, nonzeros=np.full(300, 60))
    options = {"batch_size": 20, "training": True, "seed": 0, "order": order("weighted", power=1.0, max_repeats=40)}
    batches = BatchDataset(cells, "train", encoding(length=60, dropout=0.5), **options)
    rare = {}
    for step in range(batches.steps()):
        batch = batches[0, step]
        for joinid, gene, length in zip(batch["soma_joinid"].tolist(), batch["gene"], batch["length"], strict=True):
            rare.setdefault(joinid, {})[step] = tuple(gene[:length].tolist())
    often = [inputs for inputs in rare.values() if len(inputs) > 5]
    assert len(often) == 3 and all(len(set(inputs.values())) == len(inputs) for inputs in often)


def test_trainings_of_two_shares_take_the_same_steps_and_sample_each_sequence_anew():
    cells = [MemorySource(np.ones(300, bool), nonzeros=np.full(300, 60), share=s, share_seed=1) for s in (1.0, 0.2)]
    options = {"batch_size": 32, "training": True, "seed": 1, "order": order(epoch_cells=300)}
    whole, part = (BatchDataset(of, "train", encoding(length=10), **options) for of in cells)
    assert len(whole) == len(part) == 10
    read = Counter()
    for step in range(10):
        batch = part[0, step]
        for joinid, genes in zip(batch["soma_joinid"].tolist(), batch["gene"].tolist(), strict=True):
            read[joinid, tuple(sorted(genes))] += 1
    # Each of about 60 cells is read five times; only where a batch holds the end of a pass may a sequence come twice.
    assert sum(read.values()) == 300 and max(Counter(joinid for joinid, _ in read).values()) >= 4
    assert sum(n - 1 for n in read.values()) < 60
