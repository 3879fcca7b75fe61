from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wced.config.pretraining import Input, Order
from wced.embedding.inputs import ModelInput
from wced.finetuning.source import SPLITS, AnnDataSource
from wced.shards.batches import BatchDataset
from wced.shards.cells import from_csr
from wced.shards.encode import Encoding
from wced.shards.vocabulary import Labels, Vocabulary

G = 12
VOCABULARY = Vocabulary(tuple(f"E{i}" for i in range(G)), tuple(f"G{i}" for i in range(G)))


def source_of(split_n, x_ng, code_n=None):
    cells = from_csr(x_ng, np.arange(G, dtype=np.int32), G)
    code_n = np.zeros(len(split_n), np.int64) if code_n is None else code_n
    labels = Labels({"batch": ("x",), "kind": ("a", "b")}, {})
    codes = {"kind": code_n, "batch": np.full(len(split_n), -1)}
    cells = ModelInput(cells, np.ones(G, bool), None, {})
    return AnnDataSource(cells, VOCABULARY, labels, codes, np.asarray(split_n, np.int8))


@given(st.lists(st.tuples(st.integers(-1, 2), st.booleans()), max_size=40), st.integers(1, 7))
def test_blocks_hold_every_used_cell_of_a_split_once(cells, block_cells):
    split_n, x_ng = np.array([s for s, _ in cells], int), np.zeros((len(cells), G))
    x_ng[:, 3] = [full for _, full in cells]
    source = source_of(split_n, x_ng)
    for code, split in enumerate(SPLITS):
        expected = [i for i, (s, full) in enumerate(cells) if s == code and full]
        bounds, sizes = source.blocks(split, block_cells)
        blocks = [source.places(split, a, b).tolist() for a, b in pairwise(bounds)]
        assert [row for block in blocks for row in block] == expected == source.places(split).tolist()
        assert list(map(len, blocks)) == sizes.tolist()
        assert source.count(split) == len(expected) and set(sizes[:-1].tolist()) <= {block_cells}


@pytest.fixture
def source():
    rng = np.random.default_rng(0)
    x_ng = rng.poisson(0.6, (60, G))
    x_ng[:, 0] = 1
    x_ng[7] = 0
    return source_of(np.arange(60) % 4 - 1, x_ng, np.arange(60) // 48), x_ng


def test_cells_come_in_the_order_asked_for(source):
    source, x_ng = source
    rows = np.array([5, 59, 7, 5, 0])
    cells = source.take(rows)
    for i, row in enumerate(rows):
        at = slice(cells.offsets[i], cells.offsets[i + 1])
        np.testing.assert_array_equal(cells.gene[at], np.flatnonzero(x_ng[row]))
        np.testing.assert_array_equal(cells.count[at], x_ng[row][x_ng[row] > 0])
    np.testing.assert_array_equal(cells.labels, [[-1, 0], [-1, 1], [-1, 0], [-1, 0], [-1, 0]])
    np.testing.assert_array_equal(source.column("kind", rows), [0, 1, 0, 0, 0])


def test_batches_are_of_the_cells_that_they_name(source):
    source, x_ng = source
    dataset = BatchDataset(
        source, "train", Encoding(Input(length=G)), batch_size=4, training=False, seed=1, order=Order()
    )
    seen = []
    for step in range(len(dataset)):
        batch = dataset[0, step]
        for row, gene, length in zip(batch["soma_joinid"], batch["gene"], batch["length"], strict=True):
            np.testing.assert_array_equal(gene[:length], np.flatnonzero(x_ng[row]))
        seen += batch["soma_joinid"].tolist()
    assert sorted(seen) == source.places("train").tolist() and 7 not in seen and seen != sorted(seen)


def test_rare_classes_are_sampled_more_often_on_request(source):
    source, _ = source
    order = Order(strategy="weighted", columns=("kind",), power=1.0)
    dataset = BatchDataset(source, "train", Encoding(Input(length=G)), batch_size=8, training=True, seed=1, order=order)
    kind = np.concatenate([source.column("kind", dataset.cells((0, step, 0, 1))) for step in range(len(dataset))])
    train = source.column("kind", source.places("train"))
    assert len(kind) == len(train) and (train == 1).mean() < 0.25
    assert abs((kind == 1).mean() - 0.5) < 0.08
