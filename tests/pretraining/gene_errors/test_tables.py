import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from wced import tables
from wced.pretraining.gene_errors import ErrorSums
from wced.pretraining.gene_errors.tables import gene_table, write_sums
from wced.pretraining.gene_statistics import PARTS, ValueSums, blocks_of_datasets
from wced.shards.vocabulary import Vocabulary

G = 5
VOCABULARY = Vocabulary(tuple(f"E{i}" for i in range(G)), tuple("ABCDE"))
BLOCKS = blocks_of_datasets(("a", "b"), np.array([0, 1]))


@pytest.fixture
def sums():
    """Sums of two datasets: gene 3 is never expressed, gene 4 not measured by b, gene 2 by nobody."""
    rng = np.random.default_rng(0)
    n_bg = rng.integers(0, 9, (len(BLOCKS), G))
    n_bg[:, 2], n_bg[PARTS:, 4] = 0, 0
    n_nonzero_bg = rng.integers(0, n_bg + 1)
    n_nonzero_bg[:, 3] = 0
    some = np.where(n_nonzero_bg > 0, rng.gamma(2, 1, (5, len(BLOCKS), G)), 0)
    values = ValueSums(n_bg, np.stack([n_nonzero_bg, *some[:3]], axis=2))
    expected = np.where(n_bg > 0, rng.normal(size=n_bg.shape), 0)
    errors = ErrorSums(np.stack(some[3:], axis=2), expected, n_bg.sum(0), n_nonzero_bg.sum(0), rng.random(G))
    return errors, values


def test_rows_of_genes(sums):
    errors, values = sums
    frame = gene_table("m", "mlm", 2, VOCABULARY, errors, values, np.linspace(0, 1, G))
    frame = tables.checked(frame, tables.GENE_ERRORS).set_index("gene_id")
    assert list(frame.index) == ["E0", "E1", "E3", "E4"]
    assert set(frame["checkpoint"]) == {"m"} and set(frame["decoder"]) == {"mlm"} and set(frame["epoch"]) == {2}
    row, s = frame.loc["E1"], values.nonzero_bgs[:, 1].sum(0)
    assert (row["n"], row["n_nonzero"], row["zero_fraction"]) == (values.n_bg[:, 1].sum(), s[0], 0.25)
    assert row["nonzero_mae"] == pytest.approx(errors.errors_bgs[:, 1, 0].sum() / s[0])
    assert row["nonzero_mae_ungated"] == pytest.approx(errors.errors_bgs[:, 1, 1].sum() / s[0])
    assert row["mean_nonzero"] == pytest.approx(s[1] / s[0]) and row["null_mae"] == pytest.approx(s[3] / s[0])
    assert row["rescaled_mae"] == pytest.approx(row["nonzero_mae"] / row["mean_nonzero"])
    assert row["rescaled_null_mae"] == pytest.approx(row["null_mae"] / row["mean_nonzero"])
    assert frame.loc["E3", ["nonzero_mae", "mean_nonzero", "null_mae", "rescaled_mae"]].isna().all()


def test_errors_of_other_values_are_refused(sums):
    errors, values = sums
    values.n_bg[3, 0] += 1
    with pytest.raises(ValueError, match="predictions"):
        gene_table("m", "wced", 1, VOCABULARY, errors, values, np.zeros(G))


@pytest.fixture
def path(tmp_path, sums):
    write_sums(tmp_path / "sums.parquet", "m", "wced", 3, VOCABULARY, BLOCKS, *sums)
    return tmp_path / "sums.parquet"


def test_rows_of_blocks(path, sums):
    errors, values = sums
    frame = tables.read(tables.GENE_ERROR_SUMS, path)
    assert len(frame) == (values.n_bg > 0).sum() and (frame["n"] > 0).all()
    assert set(frame["epoch"]) == {3} and set(frame["decoder"]) == {"wced"}
    block = frame["dataset"].map({"a": 0, "b": 1}) * PARTS + frame["part"]
    at = block.to_numpy(), frame["gene_id"].str[1:].astype(int).to_numpy()
    expected = {
        "n": values.n_bg, "n_nonzero": values.nonzero_bgs[..., 0], "sum_value": values.nonzero_bgs[..., 1],
        "sum_squared_value": values.nonzero_bgs[..., 2], "sum_abs_error_null": values.nonzero_bgs[..., 3],
        "sum_abs_error": errors.errors_bgs[..., 0], "sum_abs_error_ungated": errors.errors_bgs[..., 1],
        "sum_prediction": errors.expected_bg,
    }  # fmt: skip
    for name, array in expected.items():
        np.testing.assert_array_equal(frame[name], array[at], name)
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_sums_of_blocks_give_the_table_of_genes(path, sums):
    by_gene = pd.read_parquet(path).groupby("gene_id", observed=True).sum(numeric_only=True)
    table = gene_table("m", "wced", 3, VOCABULARY, *sums, np.zeros(G)).set_index("gene_id")
    by_gene = by_gene.loc[table.index]
    for name, column in (("sum_abs_error", "nonzero_mae"), ("sum_abs_error_null", "null_mae")):
        np.testing.assert_allclose(by_gene[name] / by_gene["n_nonzero"], table[column])


def test_names_are_dictionary_encoded(path):
    schema = parquet.read_schema(path)
    assert [field.name for field in schema] == tables.GENE_ERROR_SUMS.names
    assert all(str(schema.field(name).type).startswith("dictionary") for name in ("checkpoint", "dataset", "gene_id"))
