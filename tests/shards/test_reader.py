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
def test_take_returns_cells_in_the_order_of_the_rows(shards, rows, order):
    rng = np.random.default_rng(5)
    n = len(rows)
    places = {
        "all": np.arange(n), "reversed": np.arange(n)[::-1], "shuffled": rng.permutation(n),
        "few_repeated": np.array([500, 3, 3, 200, 63, 64]), "none": np.array([], np.int64),
    }[order]  # fmt: skip
    cells = shards.take(places)
    assert len(shards) == len(rows) and len(cells) == len(places)
    taken = [rows[place] for place in places]
    for values, name in ((cells.gene, "gene"), (cells.count, "count")):
        assert values.tolist() == [value for row in taken for value in row[name]]
    assert np.diff(cells.offsets).tolist() == [len(row["gene"]) for row in taken]
    assert cells.soma_joinid.tolist() == [row["soma_joinid"] for row in taken]
    assert cells.dataset.tolist() == [row["dataset"] for row in taken]
    for k, name in enumerate(shards.label_columns):
        assert cells.labels[:, k].tolist() == [row[name] for row in taken]
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


def test_attributes_are_those_of_the_files(made, shards):
    assert shards.vocabulary == Vocabulary.read(made.shards / "vocabulary.tsv")
    assert shards.labels == Labels.read(made.shards / "labels.json")
    assert shards.label_columns == LABEL_COLUMNS and shards.number_columns == ()
    assert shards.dataset_ids == sorted(made.run.census.datasets)
    assert shards.measured_dv.shape == (3, len(shards.vocabulary))


def changed(name, change):
    """Damage a folder: the bytes of a file become what `change` makes of them."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def removed(name):
    return lambda folder: (folder / name).unlink()


def index(change):
    """Damage a folder: `change` the object in its index."""

    def changed_object(data):
        record = json.loads(data)
        change(record)
        return json.dumps(record).encode()

    return changed("index.json", changed_object)


def metadata(**values):
    """Damage a folder: the second shard has other metadata, and the index its new checksum."""

    def damage(folder):
        path = folder / "shard-00001.arrow"
        table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
        other = {f"wced.{key}".encode(): value for key, value in values.items()}
        table = table.replace_schema_metadata(table.schema.metadata | other)
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
        index(lambda record: record["shards"][1].update(sha256=sha256(path)))(folder)

    return damage


def other_vocabulary(folder):
    vocabulary = Vocabulary.read(folder / "vocabulary.tsv")
    Vocabulary(vocabulary.gene_ids[::-1], vocabulary.symbols[::-1]).write(folder / "vocabulary.tsv")


def narrower_mask(folder):
    dataset_ids, measured_dv = read_measured(folder / "measured.arrow")
    write_measured(folder / "measured.arrow", dataset_ids, measured_dv[:, 1:])


SHARD = "shard-00001.arrow"
DAMAGES = {
    "no_index": (removed("index.json"), "index.json", "no such file"),
    "broken_index": (changed("index.json", lambda _: b"{"), "index.json", "not the index of the shards"),
    "index_version": (
        index(lambda record: record.update(format_version=7)), "index.json", "format version 7, this program reads 3",
    ),
    "no_vocabulary": (removed("vocabulary.tsv"), "vocabulary.tsv", "no such file"),
    "other_vocabulary": (other_vocabulary, "vocabulary.tsv", "not the vocabulary that the index was made with"),
    "no_labels": (removed("labels.json"), "labels.json", "no such file"),
    "no_mask": (removed("measured.arrow"), "measured.arrow", "no such file"),
    "other_mask": (narrower_mask, "measured.arrow", "for another vocabulary"),
    "no_shard": (removed(SHARD), SHARD, "no such file"),
    "truncated_shard": (changed(SHARD, lambda data: data[:-2000]), SHARD, "not a whole Arrow file"),
    "foreign_shard": (metadata(vocabulary_sha256=b"0" * 64), SHARD, "for another vocabulary"),
    "shard_version": (metadata(format_version=b"9"), SHARD, "format version 9, this program reads 3"),
    "stale_shard": (metadata(inputs_sha256=b"0" * 64), SHARD, "stale: made from other cells"),
    "row_count": (
        index(lambda record: record["shards"][1].update(cells=record["shards"][1]["cells"] + 1)), SHARD,
        "holds another number of cells",
    ),
    "changed_labels": (
        changed("labels.json", lambda data: data + b" "), "labels.json", "not the file that the index was made with",
    ),
}  # fmt: skip


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made.shards, tmp_path / "shards")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_shards_are_refused_by_name(folder, damage):
    change, file, message = DAMAGES[damage]
    change(folder)
    with pytest.raises(WcedError, match=f"^{re.escape(str(folder / file))}: .*{message}"):
        ShardSet(folder)


def test_verifying_finds_a_changed_byte(folder):
    middle = (folder / SHARD).stat().st_size // 2
    changed(SHARD, lambda data: data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])(folder)
    with pytest.raises(WcedError, match=rf"{SHARD}: its checksum is not the one in the index"):
        ShardSet(folder, verify=True)


def test_cells_carry_the_columns_of_the_config(annotated):
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
