import re
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiledbsoma as soma

from wced.config.corpus import Census
from wced.errors import WcedError
from wced.shards.counts import CountReader
from wced.shards.vocabulary import Vocabulary

PUBLIC = {"tile_order": "row-major", "cell_order": "row-major", "capacity": 128, "allows_duplicates": True}
LAYOUTS = {
    "census": PUBLIC | {"dims": {"soma_dim_0": {"tile": 16}, "soma_dim_1": {"tile": 8}}},
    "rows": PUBLIC | {"dims": {"soma_dim_0": {"tile": 10}, "soma_dim_1": {"tile": 60}}, "allows_duplicates": False},
}
"""Small tiles, so that a cell's genes are spread over several and come interleaved with those of other cells."""

QUICK = Census(attempts=3, retry_wait_seconds=0)


def write_experiment(path, x_ng, layout="census", extra=()):
    """Write counts as the layer `raw` of an experiment with genes G00, G01, …, and further (cell, gene, count)."""
    rows, columns = np.nonzero(x_ng)
    data = [*zip(rows, columns, x_ng[rows, columns], strict=True), *extra]
    cells, genes, counts = (np.array(values) for values in zip(*data, strict=True))
    names = [f"G{i:02d}" for i in range(x_ng.shape[1])]
    var = pa.table({"soma_joinid": np.arange(len(names)), "feature_id": names})
    with soma.Experiment.create(str(path)) as experiment:
        rna = experiment.add_new_collection("ms").add_new_collection("RNA", soma.Measurement)
        rna.add_new_dataframe(
            "var", schema=var.schema, index_column_names=["soma_joinid"], domain=[(0, len(names) - 1)]
        )
        config = {"tiledb": {"create": LAYOUTS[layout]}}
        rna.add_new_collection("X").add_new_sparse_ndarray(
            "raw", type=pa.float32(), shape=x_ng.shape, platform_config=config
        )
    with soma.open(f"{path}/ms/RNA/var", "w") as target:
        target.write(var)
    with soma.open(f"{path}/ms/RNA/X/raw", "w") as target:
        coordinates = {"soma_dim_0": cells.astype(np.int64), "soma_dim_1": genes.astype(np.int64)}
        target.write(pa.table({**coordinates, "soma_data": counts.astype(np.float32)}))
    return soma.open(str(path))


def random_counts(n=50, genes=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 90_000, (n, genes)) * (rng.random((n, genes)) < 0.5)


def vocabulary(genes):
    return Vocabulary(tuple(f"G{i:02d}" for i in genes), tuple("" for _ in genes))


@contextmanager
def reader_of(folder, x_ng, genes=range(60), extra=()):
    with write_experiment(folder / "x", x_ng, extra=extra) as experiment:
        yield CountReader(experiment, vocabulary(genes), QUICK)


def read(reader, x_ng, cells):
    cells = np.asarray(cells, np.int64)
    return reader.read(cells, np.count_nonzero(x_ng[cells], axis=1), np.repeat("a", len(cells)), "test")


@pytest.fixture(scope="module", params=LAYOUTS)
def written(request, tmp_path_factory):
    """Counts, and the experiment that holds them."""
    x_ng = random_counts()
    with write_experiment(tmp_path_factory.mktemp("counts") / "x", x_ng, request.param) as experiment:
        yield x_ng, experiment


@pytest.mark.parametrize(
    "cells",
    [range(50), range(7, 31), [3], [], [0, 49], [2, 3, 5, 7, 11, 13], sorted(set(range(50)) - {9, 20, 21})],
    ids=["all", "range", "one", "none", "far", "points", "gaps"],
)
@pytest.mark.parametrize(
    "genes", [range(60), [5, 8, 41], [41, 8, 5], [59, *range(30)]], ids=["all", "few", "backwards", "mixed"]
)
def test_counts_are_those_of_x(written, cells, genes):
    x_ng, experiment = written
    found = read(CountReader(experiment, vocabulary(genes), QUICK), x_ng, cells)
    expected = x_ng[np.asarray(cells, np.int64)]
    chosen = expected[:, list(genes)]
    row, gene = np.nonzero(chosen)
    assert found.gene.dtype == np.uint16 and found.count.dtype == np.uint32
    np.testing.assert_array_equal(np.diff(found.offsets), np.bincount(row, minlength=len(chosen)))
    np.testing.assert_array_equal(found.gene, gene)
    np.testing.assert_array_equal(found.count, chosen[row, gene])
    np.testing.assert_array_equal(found.total, expected.sum(axis=1))
    np.testing.assert_array_equal(found.inside, chosen.sum(axis=1))
    part = found.rows(np.arange(len(cells))[::-2])
    np.testing.assert_array_equal(np.diff(part.offsets), np.diff(found.offsets)[::-2])
    np.testing.assert_array_equal(part.total, found.total[::-2])
    np.testing.assert_array_equal(part.gene[: part.offsets[1 if len(cells) else 0]], np.flatnonzero(chosen[-1:]))


@pytest.mark.parametrize("value", [2.5, -1.0, np.nan, np.inf, 2.0**32], ids=str)
def test_what_is_no_count_is_refused_by_dataset_and_cell(tmp_path, value):
    x_ng = random_counts(seed=1).astype(np.float32)
    x_ng[17, 3] = value
    with reader_of(tmp_path, x_ng, range(10, 60)) as reader:
        datasets = np.repeat(["a", "b"], [10, 40])
        message = "^" + re.escape(f"dataset b, cell 17: a raw count is {value:g}, not a whole number")
        with pytest.raises(WcedError, match=message):
            reader.read(np.arange(50), np.count_nonzero(x_ng, axis=1), datasets, "test")
        # Cells that are not asked for do not matter, though they are in the range that is read.
        cells = np.delete(np.arange(50), 17)
        assert len(read(reader, x_ng, cells).offsets) == 50


def test_explicit_zeros_are_no_counts(tmp_path):
    x_ng = random_counts(seed=2)
    zeros = [(4, int(gene), 0) for gene in np.flatnonzero(x_ng[4] == 0)]
    with reader_of(tmp_path, x_ng, extra=zeros) as reader:
        np.testing.assert_array_equal(read(reader, x_ng, range(50)).count, x_ng[np.nonzero(x_ng)])


@pytest.mark.parametrize("change", [-1, 1], ids=["more", "fewer"])
def test_counts_that_do_not_fit_obs_are_refused(tmp_path, change):
    x_ng = random_counts(seed=3)
    nnz = np.count_nonzero(x_ng, axis=1)
    nnz[23] += change
    message = rf"^dataset a, cell 23: X has {nnz[23] - change} non-zero counts, but obs says nnz {nnz[23]}$"
    with reader_of(tmp_path, x_ng) as reader, pytest.raises(WcedError, match=message):
        reader.read(np.arange(50), nnz, np.repeat("a", 50), "test")


def test_two_counts_of_a_gene_are_refused(tmp_path):
    x_ng = random_counts(seed=4)
    gene = int(np.flatnonzero(x_ng[31])[0])
    nnz = np.count_nonzero(x_ng, axis=1) + (np.arange(50) == 31)
    message = r"^dataset a, cell 31: X has two counts of one gene$"
    with reader_of(tmp_path, x_ng, extra=[(31, gene, 5)]) as reader, pytest.raises(WcedError, match=message):
        reader.read(np.arange(50), nnz, np.repeat("a", 50), "test")


class Failing:
    """An array whose first reads fail after their first table, as when a connection drops."""

    def __init__(self, array, failures):
        self.array, self.failures = array, failures
        self.uri, self.context = array.uri, array.context

    def read(self, **options):
        self.failures -= 1
        return self if self.failures >= 0 else self.array.read(**options)

    def tables(self):
        yield next(self.array.read().tables())
        raise soma.SOMAError("S3: connection\nreset")


def fail(reader, monkeypatch, failures):
    """Let the first reads of X fail; return how it is opened from then on."""
    fake, opened = Failing(reader._x, failures), []
    reader._x = fake
    monkeypatch.setattr(soma.SparseNDArray, "open", lambda uri, context: opened.append((uri, context)) or fake)
    return opened


def test_a_fault_is_tried_again_from_the_start_with_x_opened_again(tmp_path, monkeypatch, capsys):
    x_ng = random_counts(seed=5)
    with reader_of(tmp_path, x_ng) as reader:
        expected = read(reader, x_ng, range(50))
        opened = fail(reader, monkeypatch, 2)
        found = read(reader, x_ng, range(50))
    np.testing.assert_array_equal(found.gene, expected.gene)
    np.testing.assert_array_equal(found.count, expected.count)
    assert [uri for uri, _ in opened] == [reader._x.uri] * 2
    assert len({id(context) for _, context in opened} - {id(reader._x.context)}) == 2
    assert capsys.readouterr().out.count("failed, again in") == 2


def test_the_last_fault_names_datasets_and_range(tmp_path, monkeypatch):
    x_ng = random_counts(seed=6)
    message = r"^shard 4: datasets a, b, soma_joinid 10 to 39: S3: connection reset \(after 3 attempts\)$"
    nnz, datasets = np.count_nonzero(x_ng[10:40], axis=1), pd.Series(["b"] * 20 + ["a"] * 10)
    with reader_of(tmp_path, x_ng) as reader, pytest.raises(WcedError, match=message):
        fail(reader, monkeypatch, 9)
        reader.read(np.arange(10, 40), nnz, datasets, "shard 4")
