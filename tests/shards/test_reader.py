import json
import pickle
import re
import shutil
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from wced.config.corpus import LABEL_COLUMNS
from wced.errors import WcedError
from wced.files import sha256
from wced.shards.reader import ShardSet
from wced.shards.vocabulary import Labels, Vocabulary, fact_types, label_values, read_measured, write_measured


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards, verify=True)


@pytest.fixture(scope="module")
def rows(made):
    """All cells as plain Python rows, read with pyarrow."""
    return [
        row
        for path in sorted(made.shards.glob("shard-*.arrow"))
        for row in pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist()
    ]


@pytest.mark.parametrize("order", ["all", "reversed", "shuffled", "few_repeated", "none"])
def test_take_gives_the_cells_asked_for_in_their_order(shards, rows, order):
    rng = np.random.default_rng(5)
    places = {
        "all": np.arange(len(rows)),
        "reversed": np.arange(len(rows))[::-1],
        "shuffled": rng.permutation(len(rows)),
        "few_repeated": np.array([500, 3, 3, 200, 63, 64]),
        "none": np.array([], np.int64),
    }[order]
    cells = shards.take(places)
    assert len(shards) == len(rows) and len(cells) == len(places)
    assert cells.gene.tolist() == [gene for place in places for gene in rows[place]["gene"]]
    assert cells.count.tolist() == [count for place in places for count in rows[place]["count"]]
    assert np.diff(cells.offsets).tolist() == [len(rows[place]["gene"]) for place in places]
    assert cells.soma_joinid.tolist() == [rows[place]["soma_joinid"] for place in places]
    assert cells.dataset.tolist() == [rows[place]["dataset"] for place in places]
    for k, name in enumerate(shards.label_columns):
        assert cells.labels[:, k].tolist() == [rows[place][name] for place in places]
    assert cells.numbers is None and cells.perturbed is None


@pytest.mark.parametrize(("split", "code"), [("train", 0), ("validation", 1)])
def test_cells_of_a_split(shards, rows, split, code):
    expected = [i for i, row in enumerate(rows) if row["split"] == code and row["gene"]]
    assert shards.places(split).tolist() == expected and shards.count(split) == len(expected)
    for start, stop in ((0, 0), (5, 70), (60, 200), (len(rows) - 1, len(rows))):
        assert shards.places(split, start, stop).tolist() == [i for i in expected if start <= i < stop]


@pytest.mark.parametrize("block_cells", [1, 7, 64, 100, 10_000])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_blocks_hold_cells_that_lie_together(shards, split, block_cells):
    bounds, cells = shards.blocks(split, block_cells)
    found = [shards.places(split, a, b) for a, b in pairwise(bounds)]
    assert [len(places) for places in found] == cells.tolist()
    assert np.concatenate(found).tolist() == shards.places(split).tolist()
    assert (cells[:-1] == block_cells).all() and 0 < cells[-1] <= block_cells


def test_columns_of_cells(shards, rows):
    places = np.array([400, 0, 63, 64, 64])
    for name in fact_types(shards.labels):
        assert shards.column(name, places).tolist() == [rows[place][name] for place in places]


def test_another_process_opens_the_folder_itself(shards):
    other = pickle.loads(pickle.dumps(shards))
    places = np.arange(0, len(shards), 7)
    assert other.take(places).gene.tolist() == shards.take(places).gene.tolist()
    assert len(pickle.dumps(shards)) < 1000


def test_what_it_says_of_its_cells(made, shards):
    assert shards.vocabulary == Vocabulary.read(made.shards / "vocabulary.tsv")
    assert shards.labels == Labels.read(made.shards / "labels.json")
    assert shards.label_columns == LABEL_COLUMNS and shards.number_columns == ()
    assert shards.dataset_ids == sorted(made.run.census.datasets)
    assert shards.measured_dv.shape == (3, len(shards.vocabulary))


def change_index(**changes):
    def change(folder):
        path = folder / "index.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def rewrite_shard(folder, metadata):
    """Write the second shard again with other metadata, and its new checksum into the index."""
    path = folder / "shard-00001.arrow"
    table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
    table = table.replace_schema_metadata(table.schema.metadata | metadata)
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    index = json.loads((folder / "index.json").read_text())
    index["shards"][1]["sha256"] = sha256(path)
    (folder / "index.json").write_text(json.dumps(index))


def truncate(folder):
    path = folder / "shard-00001.arrow"
    path.write_bytes(path.read_bytes()[:-2000])


def flip_a_byte(folder):
    path = folder / "shard-00002.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def fewer_rows(folder):
    path = folder / "index.json"
    index = json.loads(path.read_text())
    index["shards"][2]["cells"] += 1
    path.write_text(json.dumps(index))


def other_vocabulary(folder):
    vocabulary = Vocabulary.read(folder / "vocabulary.tsv")
    Vocabulary(vocabulary.gene_ids[::-1], vocabulary.symbols[::-1]).write(folder / "vocabulary.tsv")


def narrower_mask(folder):
    dataset_ids, measured_dv = read_measured(folder / "measured.arrow")
    write_measured(folder / "measured.arrow", dataset_ids, measured_dv[:, 1:])


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (lambda folder: (folder / "index.json").unlink(), "index.json", "no such file"),
        (lambda folder: (folder / "index.json").write_text("{"), "index.json", "not the index of the shards"),
        (change_index(format_version=7), "index.json", "format version 7, this program reads 3"),
        (lambda folder: (folder / "vocabulary.tsv").unlink(), "vocabulary.tsv", "no such file"),
        (other_vocabulary, "vocabulary.tsv", "not the vocabulary that the index was made with"),
        (lambda folder: (folder / "labels.json").unlink(), "labels.json", "no such file"),
        (lambda folder: (folder / "measured.arrow").unlink(), "measured.arrow", "no such file"),
        (narrower_mask, "measured.arrow", "for another vocabulary"),
        (lambda folder: (folder / "shard-00001.arrow").unlink(), "shard-00001.arrow", "no such file"),
        (truncate, "shard-00001.arrow", "not a whole Arrow file"),
        (
            lambda folder: rewrite_shard(folder, {b"wced.vocabulary_sha256": b"0" * 64}),
            "shard-00001.arrow",
            "for another vocabulary",
        ),
        (
            lambda folder: rewrite_shard(folder, {b"wced.format_version": b"9"}),
            "shard-00001.arrow",
            "format version 9, this program reads 3",
        ),
        (
            lambda folder: rewrite_shard(folder, {b"wced.inputs_sha256": b"0" * 64}),
            "shard-00001.arrow",
            "stale: made from other cells",
        ),
        (fewer_rows, "shard-00002.arrow", "holds another number of cells"),
        (
            lambda folder: (folder / "labels.json").write_text((folder / "labels.json").read_text() + " "),
            "labels.json",
            "not the file that the index was made with",
        ),
    ],
    ids=[
        "no_index", "broken_index", "index_version", "no_vocabulary", "other_vocabulary", "no_labels", "no_mask",
        "other_mask", "no_shard", "truncated_shard", "foreign_shard", "shard_version", "stale_shard", "row_count",
        "changed_labels",
    ],
)  # fmt: skip
def test_damaged_shards_are_refused_by_name(made, tmp_path, damage, file, message):
    folder = tmp_path / "shards"
    shutil.copytree(made.shards, folder)
    damage(folder)
    with pytest.raises(WcedError, match=f"^{re.escape(str(folder / file))}: .*{message}"):
        ShardSet(folder)


def test_a_changed_byte_is_found_when_asked_to_verify(made, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(made.shards, folder)
    flip_a_byte(folder)
    with pytest.raises(WcedError, match=r"shard-00002\.arrow: its checksum is not the one in the index"):
        ShardSet(folder, verify=True)


def test_cells_carry_the_columns_that_were_asked_for(annotated):
    shards = ShardSet(annotated.shards, verify=True)
    assert shards.label_columns == ("batch", "cell_type", "treated", "guide")
    assert shards.number_columns == ("dose", "days", "raw_sum")
    index = json.loads((annotated.shards / "index.json").read_text())
    assert index["label_columns"] == list(shards.label_columns)
    assert index["number_columns"] == list(shards.number_columns) and index["perturbed_column"] == "guide"
    places = np.random.default_rng(1).permutation(len(shards))[:300]
    rows = annotated.frame.iloc[places]
    for cells in (shards.take(places), shards.views(places)):
        for k, name in enumerate(shards.label_columns):
            values = label_values(rows, name).to_numpy()
            classes = shards.labels.classes[name]
            named = np.array([*classes, "unknown"])[cells.labels[:, k]]
            assert named.tolist() == np.where(np.isin(values, classes), values, "unknown").tolist()
        expected = rows[["dose", "days", "raw_sum"]].replace("unknown", np.nan).to_numpy(np.float32)
        assert cells.numbers.dtype == np.float32 and np.isnan(expected).any()
        np.testing.assert_array_equal(cells.numbers, expected)
        perturbed = [annotated.perturbed.get(guide, []) for guide in rows["guide"]]
        assert [[gene for gene in own if gene >= 0] for own in cells.perturbed.tolist()] == perturbed
    np.testing.assert_array_equal(shards.column("days", places), expected[:, 1])


def test_shards_of_other_columns_are_refused(annotated, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(annotated.shards, folder)
    record = json.loads((folder / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps(record | {"number_columns": ["dose"]}))
    with pytest.raises(WcedError, match=r"labels\.json: not the file that the index was made with"):
        ShardSet(folder)
