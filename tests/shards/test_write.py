import hashlib
import itertools
import json
import re
import shutil

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
from wced.shards.counts import batch_bounds
from wced.shards.vocabulary import Labels, Vocabulary, read_measured
from wced.shards.write import (
    BATCH_SHA256,
    VOCABULARY_FILES,
    batch_sha256,
    inputs_sha256,
    shard_bounds,
    write_index,
    write_shard,
)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5000), max_size=200), st.integers(1, 20))
def test_bounds_cover_all_cells_and_balance_nonzeros(nonzeros, count):
    nonzeros = np.array(nonzeros, np.int64)
    bounds = shard_bounds(nonzeros, count)
    assert bounds.shape == (count + 1,) and bounds.dtype == np.int64
    assert bounds[0] == 0 and bounds[-1] == len(nonzeros) and (np.diff(bounds) >= 0).all()
    sizes = np.array([nonzeros[begin:end].sum() for begin, end in itertools.pairwise(bounds)])
    assert (np.abs(sizes - nonzeros.sum() / count) <= nonzeros.max(initial=0)).all()


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 300), max_size=100), st.integers(1, 20), st.integers(1, 1000))
def test_record_batches_are_the_fewest_within_their_limits(nonzeros, most_cells, most_nonzeros):
    bounds = batch_bounds(np.array(nonzeros, np.int64), most_cells, most_nonzeros)
    assert bounds.dtype == np.int64 and bounds[0] == 0 and bounds[-1] == len(nonzeros)
    for begin, end in itertools.pairwise(bounds):
        assert 0 < end - begin <= most_cells
        assert end - begin == 1 or sum(nonzeros[begin:end]) <= most_nonzeros
        # One cell more would be too many.
        full = end == len(nonzeros) or end - begin == most_cells or sum(nonzeros[begin : end + 1]) > most_nonzeros
        assert full


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
    for number, table in enumerate(tables):
        assert table.schema.field("gene").type == pa.list_(pa.uint16())
        assert table.schema.field("count").type == pa.list_(pa.uint32())
        assert {str(table.schema.field(name).type) for name in classes} == {"int32"}
        assert not any(field.nullable for field in table.schema)
        assert table.schema.metadata == {
            b"wced.format_version": b"3",
            b"wced.vocabulary_sha256": index["vocabulary_sha256"].encode(),
            b"wced.inputs_sha256": index["inputs_sha256"].encode(),
            b"wced.shard": str(number).encode(),
            b"wced.shards": b"3",
        }
        assert [len(chunk) for chunk in table["gene"].chunks] == index["shards"][number]["batches"]
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

    def write(path, rows=slice(None), dataset_ids=dataset_ids, batch_cells=64, **options):
        with open_census(made.run.census, made.census) as census:
            write_shard(
                path, census["census_data"]["homo_sapiens"], cells.iloc[rows], vocabulary, labels, dataset_ids,
                batch_cells=batch_cells, **options,
            )  # fmt: skip
        return path

    return write


def test_a_shard_written_twice_has_the_same_bytes(made, again, tmp_path):
    first, inputs = made.shards / "shard-00000.arrow", inputs_sha256(made.cells, made.shards / "vocabulary.tsv")
    n = read_with_plain_pyarrow(first).num_rows
    assert sha256(again(tmp_path / "other.arrow", slice(n), count=3, inputs=inputs)) == sha256(first)


def test_rows_do_not_depend_on_record_batches(again, tmp_path, monkeypatch):
    large, small = (again(tmp_path / f"{cells}.arrow", batch_cells=cells) for cells in (65536, 7))
    monkeypatch.setattr("wced.shards.counts.batch_bounds", lambda nonzeros, cells: batch_bounds(nonzeros, cells, 1000))
    whole, *parts = map(read_with_plain_pyarrow, (large, small, again(tmp_path / "parts.arrow")))
    assert all(whole.equals(part) for part in parts)
    assert max(len(chunk) for chunk in parts[1]["gene"].chunks) < 20


def test_a_shard_may_be_empty(again, tmp_path):
    table = read_with_plain_pyarrow(again(tmp_path / "empty.arrow", slice(0)))
    assert table.num_rows == 0 and "gene" in table.schema.names


def test_a_dataset_without_code_is_refused(again, tmp_path):
    path = tmp_path / "foreign.arrow"
    with pytest.raises(WcedError, match=f"^{re.escape(str(path))}: dataset spleen_ensembl is not among"):
        again(path, dataset_ids=["blood_symbols", "lung_smartseq"])
    assert not path.exists()


def flipped(path, column):
    """Flip one bit of a value of a column of the second record batch."""
    with pa.memory_map(str(path)) as source:
        values = pa.ipc.open_file(source).get_batch(1)[column]
        values = values.values if pa.types.is_list(values.type) else values
        bytes_ = values.buffers()[1].to_pybytes()
    data = bytearray(path.read_bytes())
    data[data.index(bytes_) + len(bytes_) // 2] ^= 1
    path.write_bytes(bytes(data))


def replaced(path, **metadata):
    """Write a shard again with other metadata, everything else as it was."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        batches = [reader.get_batch_with_custom_metadata(i) for i in range(reader.num_record_batches)]
        metadata = {f"wced.{key}".encode(): value for key, value in metadata.items()}
        schema = reader.schema.with_metadata(reader.schema.metadata | metadata)
        with pa.ipc.new_file(path.with_name("new"), schema) as writer:
            for batch, own in batches:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata), custom_metadata=own)
    path.with_name("new").replace(path)


DAMAGES = {
    "missing": (lambda path: path.unlink(), "no such file; expected a shard"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "not a whole Arrow file"),
    "short": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "not a whole Arrow file"),
    "empty": (lambda path: path.write_bytes(b""), "not a whole Arrow file"),
    "count": (lambda path: flipped(path, "count"), "record batch 1 is damaged"),
    "gene": (lambda path: flipped(path, "gene"), "record batch 1 is damaged"),
    "label": (lambda path: flipped(path, "donor_id"), "record batch 1 is damaged"),
    "version": (lambda path: replaced(path, format_version=b"1"), "format version 1, this program reads 3"),
    "vocabulary": (lambda path: replaced(path, vocabulary_sha256=b"0"), "written for another vocabulary"),
    "stale": (lambda path: replaced(path, inputs_sha256=b"0"), "stale: made from other cells"),
    "number": (lambda path: replaced(path, shards=b"4"), "is shard 1 of 4; expected shard 1 of 3"),
    "misplaced": (
        lambda path: shutil.copy(path.with_name("shard-00002.arrow"), path), "is shard 2 of 3; expected shard 1 of 3",
    ),
}  # fmt: skip


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made.shards, tmp_path / "shards")


@pytest.mark.parametrize("damage", DAMAGES)
def test_index_refuses_a_shard_by_name(made, folder, damage):
    change, message = DAMAGES[damage]
    shards = sorted(folder.glob("shard-*.arrow"))
    change(shards[1])
    with pytest.raises(WcedError, match=f"^{re.escape(str(shards[1]))}: .*{message}"):
        write_index(folder / "new.json", shards, made.cells, folder / "vocabulary.tsv")
    assert not (folder / "new.json").exists()


@pytest.mark.parametrize("name", ["cells.parquet", "labels.json", "measured.arrow"])
def test_shards_of_other_inputs_are_stale(made, tmp_path, folder, name):
    shutil.copy(made.cells, folder)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    shards = sorted(folder.glob("shard-*.arrow"))
    with pytest.raises(WcedError, match=f"^{re.escape(str(shards[0]))}: stale"):
        write_index(tmp_path / "index.json", shards, folder / "cells.parquet", folder / "vocabulary.tsv")


def test_record_batches_carry_their_checksum(made):
    with pa.memory_map(str(made.shards / "shard-00000.arrow")) as source:
        reader = pa.ipc.open_file(source)
        batch, metadata = reader.get_batch_with_custom_metadata(0)
        assert metadata[BATCH_SHA256.encode()].decode() == batch_sha256(batch)
        expected = hashlib.sha256()
        for column in batch.columns:
            for part in (column.offsets, column.values) if pa.types.is_list(column.type) else (column,):
                expected.update(np.array(part.to_pylist(), part.type.to_pandas_dtype()).tobytes())
        assert batch_sha256(batch) == expected.hexdigest()


def test_index_counts_what_the_shards_hold(made):
    index = json.loads((made.shards / "index.json").read_text())
    cells = pd.read_parquet(made.cells)
    assert index["cells"] == len(cells)
    assert sum(row["validation"] for row in index["shards"]) == (cells["split"] == "validation").sum()
    assert sum(row["train"] for row in index["shards"]) == (cells["split"] == "train").sum()
    assert index["files"] == {name: sha256(made.shards / name) for name in VOCABULARY_FILES}
    for row in index["shards"]:
        assert row["sha256"] == sha256(made.shards / row["file"])
        assert row["bytes"] == (made.shards / row["file"]).stat().st_size
        genes = read_with_plain_pyarrow(made.shards / row["file"])["gene"].combine_chunks()
        assert row["nonzeros"] == len(genes.values)
    sizes = [row["nonzeros"] for row in index["shards"]]
    assert max(sizes) < 1.2 * min(sizes)
