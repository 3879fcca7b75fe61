"""Any number of ranks and workers gives the same cells and batches, and continues with the next one after a stop."""

from collections import Counter
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from memory_source import order
from wced.config.pretraining import Input, Masked
from wced.shards.batches import BatchDataset, BatchLoader
from wced.shards.encode import Encoding
from wced.shards.reader import ShardSet

pytestmark = pytest.mark.hard

RANKS, WORKERS = (1, 2, 4), (0, 1, 3)
EPOCHS = 2


@pytest.fixture(scope="module")
def dataset(made):
    """Return a dataset of an order; an epoch crosses several of its small blocks and buffers."""
    shards = ShardSet(made.shards)

    def make(
        strategy: str = "shuffled", bucket_steps: int = 1, weighted: bool = False, batches: str = "mixed"
    ) -> BatchDataset:
        masks = Masked(select=0.5, mask=0.7, hide_genes=0.2)
        encoding = Encoding(Input(length=32, dropout=0.2, zeros="interleave"), masks)
        columns = ("cell_type_ontology_term_id",)
        small = {"block_cells": 16, "buffer_blocks": 8, "bucket_steps": bucket_steps}
        own = order(strategy, columns=columns, batches=batches, **small)
        made = BatchDataset(shards, "train", encoding, batch_size=24, training=True, seed=5, order=own)
        if weighted:
            made.set_gene_weights(1.0 + np.arange(len(shards.vocabulary)) % 3)
        return made

    return make


@pytest.fixture(scope="module")
def expected(dataset):
    """Return the batches of each rank over all epochs, made one by one in this process."""

    @cache
    def batches(ranks: int, *options: Any) -> list[list[dict[str, torch.Tensor]]]:
        source = dataset(*options)
        steps = [(epoch, step) for epoch in range(EPOCHS) for step in range(source.steps(ranks))]
        return [[source[epoch, step, rank, ranks] for epoch, step in steps] for rank in range(ranks)]

    return batches


def assert_same(left, right):
    assert len(left) == len(right)
    for number, (mine, theirs) in enumerate(zip(left, right, strict=True)):
        assert mine.keys() == theirs.keys()
        for name, tensor in mine.items():
            same = tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name])
            assert same, f"batch {number}, {name}"


@pytest.mark.parametrize("workers", WORKERS, ids="workers={}".format)
@pytest.mark.parametrize("ranks", RANKS, ids="ranks={}".format)
def test_an_epoch_is_the_same_for_any_ranks_and_workers(dataset, expected, ranks, workers):
    source = dataset()
    train = source.source.column("soma_joinid", source.source.places("train")).tolist()
    loaders = [BatchLoader(source, rank=rank, ranks=ranks, workers=workers) for rank in range(ranks)]
    seen = [[batch for _ in range(EPOCHS) for batch in loader] for loader in loaders]
    assert len({len(batches) for batches in seen}) == 1
    for epoch in range(EPOCHS):
        steps = slice(epoch * len(loaders[0]), (epoch + 1) * len(loaders[0]))
        cells = [joinid for batches in seen for batch in batches[steps] for joinid in batch["soma_joinid"].tolist()]
        assert Counter(cells) == Counter(train)
    for mine, theirs in zip(seen, expected(ranks), strict=True):
        assert_same(mine, theirs)


@pytest.mark.parametrize("workers", WORKERS, ids="workers={}".format)
@pytest.mark.parametrize("ranks", RANKS, ids="ranks={}".format)
def test_a_loader_resumes_exactly_from_any_batch(dataset, expected, ranks, workers):
    source, rank = dataset(), ranks - 1
    steps = source.steps(ranks)
    whole = expected(ranks)[rank]
    loader = BatchLoader(source, rank=rank, ranks=ranks, workers=workers)
    states = [loader.state_dict()]
    for batch in loader:
        # As training does: the state is taken while the batch is used and workers are already making later ones.
        assert_same([batch], [whole[len(states) - 1]])
        states.append(loader.state_dict())
    assert len(states) == steps + 1
    # A loader goes back to an earlier state; its workers, some busy with other batches, stay.
    for done, state in enumerate(states):
        loader.load_state_dict(state)
        # After the end of an epoch comes the next one.
        last = (done // steps + 1) * steps
        assert_same(list(islice(loader, 3)), whole[done : min(done + 3, last)])
    # A new one, as after a kill, continues through the next epoch; a state fits any number of workers.
    for other in {workers, 0}:
        done = len(states) // 2
        fresh = BatchLoader(source, rank=rank, ranks=ranks, workers=other)
        fresh.load_state_dict(states[done])
        assert_same([*fresh, *fresh], whole[done:])


@pytest.mark.parametrize(
    "options",
    [
        ("shuffled", 3), ("weighted", 1), ("round_robin", 2), ("shuffled", 1, True),
        ("weighted", 2, False, "one_dataset"), ("shuffled", 1, True, "one_dataset"),
    ],
    ids=["buckets", "weighted", "round_robin", "weights_of_genes", "one_dataset", "one_dataset_and_weights_of_genes"],
)  # fmt: skip
def test_other_orders_and_choices_resume_exactly(dataset, expected, options):
    source, whole = dataset(*options), expected(2, *options)
    for rank in range(2):
        first = BatchLoader(source, rank=rank, ranks=2, workers=1)
        seen = list(islice(first, 4))
        second = BatchLoader(source, rank=rank, ranks=2, workers=0)
        second.load_state_dict(first.state_dict())
        assert_same([*seen, *second, *second], whole[rank])
