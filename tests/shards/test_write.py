import itertools
import json
import re

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wced.corpus.census import open_census
from wced.errors import WcedError
from wced.files import sha256
from wced.shards.vocabulary import Labels, Vocabulary, read_measured
from wced.shards.write import shard_bounds, write_index, write_shard


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5000), max_size=200), st.integers(1, 20))
def test_bounds_cover_all_cells_and_balance_nonzeros(nonzeros, count):
    nonzeros = np.array(nonzeros, np.int64)
    bounds = shard_bounds(nonzeros, count)
    assert bounds.shape == (count + 1,) and bounds.dtype == np.int64
    assert bounds[0] == 0 and bounds[-1] == len(nonzeros) and (np.diff(bounds) >= 0).all()
    sizes = np.array([nonzeros[begin:end].sum() for begin, end in itertools.pairwise(bounds)])
    assert (np.abs(sizes - nonzeros.sum() / count) <= nonzeros.max(initial=0)).all()


def read_with_plain_pyarrow(path):
    """Read a shard as someone without this program would."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def test_shards_open_with_plain_pyarrow(made):
    tables = [read_with_plain_pyarrow(path) for path in sorted(made.shards.glob("shard-*.arrow"))]
    vocabulary = pd.read_csv(made.shards / "vocabulary.tsv", sep="\t", keep_default_na=False)
    index = json.loads((made.shards / "index.json").read_text())
    classes = json.loads((made.shards / "labels.json").read_text())["classes"]
    assert [table.num_rows for table in tables] == [row["cells"] for row in index["shards"]]
    for table in tables:
        assert table.schema.field("gene").type == pa.list_(pa.uint16())
        assert table.schema.field("count").type == pa.list_(pa.uint32())
        assert {str(table.schema.field(name).type) for name in classes} == {"int32"}
        assert not any(field.nullable for field in table.schema)
        assert table.schema.metadata == {
            b"wced.format_version": b"1",
            b"wced.vocabulary_sha256": index["vocabulary_sha256"].encode(),
        }
        assert max(len(chunk) for chunk in table["gene"].chunks) <= 64
    table = pa.concat_tables(tables)
    cells = pd.read_parquet(made.cells)
    np.testing.assert_array_equal(table["soma_joinid"], cells["soma_joinid"])

    # Counts and labels are those of the harmonised files, whose rows the collection numbers one after the other.
    harmonised = ad.concat([ad.read_h5ad(path) for path in made.sources], join="outer", fill_value=0)
    rows = harmonised[cells["soma_joinid"].to_numpy()]
    expected = rows[:, vocabulary["gene_id"]].X.tocsr()
    expected.eliminate_zeros()
    expected.sort_indices()
    gene, count = table["gene"].combine_chunks(), table["count"].combine_chunks()
    np.testing.assert_array_equal(gene.offsets, expected.indptr)
    np.testing.assert_array_equal(gene.values, expected.indices)
    np.testing.assert_array_equal(count.values, expected.data)
    np.testing.assert_array_equal(table["total_counts"], np.asarray(rows.X.sum(axis=1)).ravel())
    np.testing.assert_array_equal(table["vocabulary_counts"], np.asarray(expected.sum(axis=1)).ravel())
    assert max(count.values.to_pylist()) > 2**12
    np.testing.assert_array_equal(np.array(table["split"]) == 1, cells["split"] == "validation")
    for column in ("cell_type_ontology_term_id", "tissue_ontology_term_id"):
        codes = np.array(table[column])
        named = np.where(codes >= 0, np.array(classes[column])[codes], "unknown")
        known = rows.obs[column].astype(str).to_numpy()
        np.testing.assert_array_equal(named, np.where(np.isin(known, classes[column]), known, "unknown"))


@pytest.fixture
def again(made):
    """Write a shard of some of the made cells once more."""
    cells, vocabulary = pd.read_parquet(made.cells), Vocabulary.read(made.shards / "vocabulary.tsv")
    labels, (dataset_ids, _) = Labels.read(made.shards / "labels.json"), read_measured(made.shards / "measured.arrow")

    def write(path, rows=slice(None), dataset_ids=dataset_ids, batch_cells=64):
        with open_census(made.run.census, made.census) as census:
            write_shard(
                path, census["census_data"]["homo_sapiens"], cells.iloc[rows], vocabulary, labels, dataset_ids,
                batch_cells=batch_cells,
            )  # fmt: skip
        return path

    return write


def test_a_shard_written_twice_has_the_same_bytes(made, again, tmp_path):
    first = made.shards / "shard-00000.arrow"
    n = read_with_plain_pyarrow(first).num_rows
    assert sha256(again(tmp_path / "other.arrow", slice(n))) == sha256(first)


def test_rows_do_not_depend_on_the_size_of_record_batches(again, tmp_path):
    small, large = again(tmp_path / "small.arrow", batch_cells=7), again(tmp_path / "large.arrow", batch_cells=65536)
    assert read_with_plain_pyarrow(small).equals(read_with_plain_pyarrow(large))


def test_a_shard_may_be_empty(again, tmp_path):
    table = read_with_plain_pyarrow(again(tmp_path / "empty.arrow", slice(0)))
    assert table.num_rows == 0 and "gene" in table.schema.names


def test_a_dataset_without_code_is_refused(again, tmp_path):
    path = tmp_path / "foreign.arrow"
    with pytest.raises(WcedError, match=f"^{re.escape(str(path))}: dataset spleen_ensembl is not among"):
        again(path, dataset_ids=["blood_symbols", "lung_smartseq"])
    assert not path.exists()


def test_index_of_damaged_or_foreign_shards_is_refused(made, tmp_path):
    vocabulary, shard = Vocabulary.read(made.shards / "vocabulary.tsv"), tmp_path / "shard.arrow"
    refused = [
        (None, vocabulary, "no such file; expected a shard"),
        ((made.shards / "shard-00000.arrow").read_bytes()[:5000], vocabulary, "not a whole Arrow file"),
        ((made.shards / "shard-00000.arrow").read_bytes(), Vocabulary(("E1",), ("A",)), "for another vocabulary"),
    ]
    for data, genes, message in refused:
        if data is not None:
            shard.write_bytes(data)
        with pytest.raises(WcedError, match=f"^{re.escape(str(shard))}: .*{message}"):
            write_index(tmp_path / "index.json", [shard], genes)
    assert not (tmp_path / "index.json").exists()


def test_index_counts_what_the_shards_hold(made):
    index = json.loads((made.shards / "index.json").read_text())
    cells = pd.read_parquet(made.cells)
    assert index["cells"] == len(cells)
    assert sum(row["validation"] for row in index["shards"]) == (cells["split"] == "validation").sum()
    assert sum(row["train"] for row in index["shards"]) == (cells["split"] == "train").sum()
    for row in index["shards"]:
        assert row["sha256"] == sha256(made.shards / row["file"])
        genes = read_with_plain_pyarrow(made.shards / row["file"])["gene"].combine_chunks()
        assert row["nonzeros"] == len(genes.values)
    sizes = [row["nonzeros"] for row in index["shards"]]
    assert max(sizes) < 1.2 * min(sizes)
