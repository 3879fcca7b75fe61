import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from wced.pretraining import gene_errors
from wced.pretraining.gene_errors import GeneErrors
from wced.pretraining.gene_statistics import blocks_of_datasets

DATASETS = ("a", "b", "c")
BLOCKS = blocks_of_datasets(DATASETS, np.array([0, 2]))
PATHS = ["compiled", "torch"]


def cells(n=40, genes=70, seed=0, dtype=torch.float32, rows=slice(None)):
    """Whole-cell predictions of a batch, of some rows of n; c does not measure some genes, no cell expresses others."""
    rng = np.random.default_rng(seed)
    dataset = rng.choice([0, 2], n)
    measured = np.ones((3, genes), bool)
    measured[2] = rng.random(genes) < 0.7
    rate = rng.choice([0, 0.05, 0.5, 0.95, 1], genes)
    expressed_ng = (rng.random((n, genes)) < rate) & measured[dataset]
    x_ng = np.where(expressed_ng, rng.gamma(2, 1, (n, genes)) + 0.01, 0)
    centre, spread = rng.uniform(-8, 3, genes), 10 ** rng.uniform(-2.5, 0.7, genes)
    logit_ng = centre + spread * (rng.normal(size=x_ng.shape) + expressed_ng)
    value_ng, joinid = x_ng + rng.normal(size=x_ng.shape), rng.integers(0, 2**40, n)
    row, gene = np.nonzero(x_ng[rows])
    batch = {
        "dataset": torch.tensor(dataset[rows], dtype=torch.int32),
        "soma_joinid": torch.tensor(joinid[rows]),
        "target_row": torch.tensor(row),
        "target_offsets": torch.tensor(np.cumsum([0, *expressed_ng[rows].sum(axis=1)])),
        "target_gene": torch.tensor(gene, dtype=torch.int32),
        "target_value": torch.tensor(x_ng[rows][row, gene], dtype=torch.float32),
    }
    logits, values = (torch.tensor(predicted_ng[rows], dtype=dtype) for predicted_ng in (logit_ng, value_ng))
    return batch, SimpleNamespace(detection_logits=logits, values=values), torch.tensor(measured[dataset[rows]])


def positions(n=30, length=40, genes=50, seed=0, dtype=torch.float32):
    """Predictions at masked positions of a batch."""
    rng = np.random.default_rng(seed)
    masked = torch.tensor(rng.random((n, length)) < 0.4)
    at = masked.flatten().nonzero()[:, 0]
    target = np.where(rng.random((n, length)) < 0.7, rng.gamma(2, 1, (n, length)), 0).astype(np.float32)
    batch = {
        "dataset": torch.tensor(rng.choice([0, 2], n), dtype=torch.int32),
        "soma_joinid": torch.tensor(rng.integers(0, 2**40, n)),
        "gene": torch.tensor(np.stack([rng.permutation(genes)[:length] for _ in range(n)]), dtype=torch.int32),
        "position_target": torch.tensor(target),
        "masked_at": at,
    }
    logit, value = rng.normal(1, 2, len(at)), rng.normal(1, 1, len(at))
    output = SimpleNamespace(
        position_logits=torch.tensor(logit, dtype=dtype), position_values=torch.tensor(value, dtype=dtype)
    )
    return batch, output


def added(errors, batches, path="compiled"):
    for batch, output, *measured in batches:
        if not measured:
            errors.update_positions(batch, output)
        elif path == "compiled":
            errors.update_cells(batch, output, *measured)
        else:
            errors._add_plain(batch, output.detection_logits.float(), output.values.float(), *measured)
    return errors


def flat(batch, output, measured=None):
    """Every prediction of a batch in float64: block, gene, logit, value, target."""
    block_n = BLOCKS.of(batch["dataset"].numpy(), batch["soma_joinid"].numpy())
    if measured is None:
        cell, at = np.divmod(batch["masked_at"].numpy(), batch["gene"].shape[1])
        gene, target = batch["gene"].numpy()[cell, at], batch["position_target"].numpy()[cell, at]
        z, v = output.position_logits, output.position_values
    else:
        x_ng = np.zeros(measured.shape)
        x_ng[batch["target_row"], batch["target_gene"]] = batch["target_value"]
        cell, gene = np.nonzero(measured.numpy())
        z, v, target = output.detection_logits[cell, gene], output.values[cell, gene], x_ng[cell, gene]
    return [block_n[cell], gene, *(np.asarray(x, np.float64) for x in (z.double(), v.double(), target))]


def check(errors, batches, genes):
    """Compare all sums with plain float64 ones."""
    block, gene, z, v, x = (np.concatenate(parts) for parts in zip(*(flat(*b) for b in batches), strict=True))
    y, sums = x > 0, errors.sums()
    gated, ungated, expected = np.zeros((3, len(BLOCKS), genes))
    np.add.at(gated, (block[y], gene[y]), np.abs(np.where(z > 0, v, 0) - x)[y])
    np.add.at(ungated, (block[y], gene[y]), np.abs(v - x)[y])
    np.add.at(expected, (block, gene), v / (1 + np.exp(-z)))
    np.testing.assert_allclose(sums.errors_bgs, np.stack([gated, ungated], axis=2), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(sums.expected_bg, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(sums.n_g, np.bincount(gene, minlength=genes))
    np.testing.assert_array_equal(sums.n_nonzero_g, np.bincount(gene[y], minlength=genes))
    for g in range(genes):
        here = gene == g
        assert np.isnan(sums.nonzero_mae_g[g]) == (not y[here].any())
        if y[here].all() or not y[here].any():
            assert np.isnan(sums.auc_g[g])
            continue
        code = np.floor(z[here] * 512).astype(int)  # no logit is beyond 32
        shift = next(s for s in range(7) if (code.max() >> s) - (code.min() >> s) < 512)
        assert sums.auc_g[g] == pytest.approx(roc_auc_score(y[here], code >> shift), abs=1e-12)
    some = sums.n_nonzero_g > 0
    for errors_bg, mae_g in ((gated, sums.nonzero_mae_g), (ungated, sums.nonzero_mae_ungated_g)):
        np.testing.assert_allclose(mae_g[some], errors_bg.sum(axis=0)[some] / sums.n_nonzero_g[some], rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("path", PATHS)
def test_cells_equal_brute_force(path, dtype):
    batches = [cells(seed=seed, dtype=dtype) for seed in range(4)]
    check(added(GeneErrors(70, BLOCKS), batches, path), batches, 70)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_positions_equal_brute_force(dtype):
    batches = [positions(seed=seed, dtype=dtype) for seed in range(4)]
    check(added(GeneErrors(50, BLOCKS), batches), batches, 50)


def assert_same(left, right, rtol=1e-12):
    for name in ("errors_bgs", "expected_bg", "nonzero_mae_g"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=rtol, atol=rtol, err_msg=name)
    for name in ("n_g", "n_nonzero_g", "auc_g"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), name)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6), genes=st.integers(1, 90),
    waiting=st.integers(1, 64), threads=st.integers(1, 3),
)  # fmt: skip
def test_compiled_and_torch_sums_are_equal(seed, sizes, genes, waiting, threads):
    batches = [cells(n, genes, seed + i) for i, n in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gene_errors, "WAITING", waiting)
        patch.setattr(torch, "get_num_threads", lambda: threads)
        compiled = added(GeneErrors(genes, BLOCKS), batches)
        compiled_sums = compiled.sums()
    plain = added(GeneErrors(genes, BLOCKS), batches, "torch")
    assert_same(compiled_sums, plain.sums())
    assert torch.equal(compiled.histograms.count_gyb, plain.histograms.count_gyb)


def test_the_batches_do_not_matter():
    parts = [cells(60, rows=rows) for rows in np.array_split(np.arange(60), 7)]
    whole = added(GeneErrors(70, BLOCKS), [cells(60)])
    # Torch's sigmoid differs in the last bit by the index of a number in its array.
    assert_same(added(GeneErrors(70, BLOCKS), parts).sums(), whole.sums(), rtol=1e-6)


def test_a_gene_that_is_not_measured_does_not_count():
    batch, output, measured = cells()
    other = copy.deepcopy(output)
    other.detection_logits[~measured], other.values[~measured] = torch.nan, 1e9
    left, right = (added(GeneErrors(70, BLOCKS), [(batch, out, measured)]).sums() for out in (output, other))
    assert_same(left, right)
    assert (left.n_g == measured.sum(0).numpy()).all() and not measured.all()


@pytest.mark.parametrize("path", PATHS)
def test_reset_forgets(path):
    errors = GeneErrors(70, BLOCKS)
    fresh = [buffer.clone() for buffer in errors.buffers()]
    added(errors, [cells()], path).sums()
    added(errors, [cells(seed=1)], path)
    errors.reset()
    assert all(torch.equal(*pair) for pair in zip(errors.buffers(), fresh, strict=True))
    check(added(errors, [cells(seed=2)], path), [cells(seed=2)], 70)


def test_sums_before_any_batch():
    errors = GeneErrors(5, BLOCKS)
    assert not errors.state_dict()  # nothing is saved with the model
    sums = errors.sums()
    assert not sums.n_g.any() and not sums.expected_bg.any()
    assert np.isnan(sums.auc_g).all() and np.isnan(sums.nonzero_mae_g).all()


class Ranks:
    """Threads as the ranks of a process group, over all of which `all_reduce` reduces."""

    def __init__(self, ranks):
        self.tensors, self.barrier, self.here = [None] * ranks, threading.Barrier(ranks, timeout=60), threading.local()

    def all_reduce(self, tensor, op=torch.distributed.ReduceOp.SUM):
        self.tensors[self.here.rank] = tensor.clone()
        self.barrier.wait()
        stacked = torch.stack(self.tensors)
        self.barrier.wait()
        operations = torch.distributed.ReduceOp
        reduce = {operations.SUM: torch.sum, operations.MIN: torch.amin, operations.MAX: torch.amax}[op]
        tensor.copy_(reduce(stacked, dim=0))

    def run(self, work):
        def one(rank):
            self.here.rank = rank
            return work(rank)

        with ThreadPoolExecutor(len(self.tensors)) as pool:
            return list(pool.map(one, range(len(self.tensors))))


@pytest.mark.parametrize("make", [cells, positions], ids=["cells", "positions"])
def test_ranks_add_up(monkeypatch, make):
    genes = {cells: 70, positions: 50}[make]
    batches = [make(seed=seed) for seed in range(6)]
    alone = added(GeneErrors(genes, BLOCKS), batches).sums()
    ranks = Ranks(3)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", ranks.all_reduce)

    def work(rank):
        errors = added(GeneErrors(genes, BLOCKS), batches[rank::3])
        errors.sums()
        return errors.sums()  # asking again adds nothing

    for sums in ranks.run(work):
        assert_same(sums, alone)
