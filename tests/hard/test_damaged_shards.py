"""Shards that are not what they should be, as the command line and a reader of the index meet them."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wced.cli import main
from wced.errors import WcedError
from wced.shards.reader import ShardSet
from wced.shards.write import write_index

pytestmark = pytest.mark.hard

FLIPS = 300


@pytest.fixture
def copy(made, tmp_path) -> SimpleNamespace:
    """Give a copy of shards that may be damaged."""
    folder = tmp_path / "shards"
    shutil.copytree(made.shards, folder)
    shutil.copy(made.cells, tmp_path / "cells.parquet")
    return SimpleNamespace(
        folder=folder,
        shards=sorted(folder.glob("shard-*.arrow")),
        cells=tmp_path / "cells.parquet",
        vocabulary=folder / "vocabulary.tsv",
        index=folder / "index.json",
    )


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def damaged(copy: SimpleNamespace) -> Path:
    table = pa.ipc.open_file(copy.shards[1]).read_all()
    counts = table["count"].chunks[0].values.to_numpy().tobytes()
    flip(copy.shards[1], copy.shards[1].read_bytes().index(counts) + len(counts) // 2)
    return copy.shards[1]


def truncated(copy: SimpleNamespace) -> Path:
    with copy.shards[2].open("r+b") as stream:
        stream.truncate(copy.shards[2].stat().st_size * 2 // 3)
    return copy.shards[2]


def missing(copy: SimpleNamespace) -> Path:
    copy.shards[1].unlink()
    return copy.shards[1]


def foreign(copy: SimpleNamespace) -> Path:
    lines = copy.vocabulary.read_text().splitlines(keepends=True)
    copy.vocabulary.write_text("".join(lines[:-1]))
    return copy.shards[0]


def stale(copy: SimpleNamespace) -> Path:
    metadata = pq.read_schema(copy.cells).metadata
    table = pq.read_table(copy.cells).slice(1).replace_schema_metadata(metadata)
    pq.write_table(table, copy.cells)
    return copy.shards[0]


def swapped(copy: SimpleNamespace) -> Path:
    first, second = copy.shards[0].read_bytes(), copy.shards[1].read_bytes()
    copy.shards[0].write_bytes(second)
    copy.shards[1].write_bytes(first)
    return copy.shards[0]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (damaged, "is damaged"),
        (truncated, "not a whole Arrow file"),
        (missing, "no such file"),
        (foreign, "another vocabulary"),
        (stale, "stale"),
        (swapped, "is shard 1 of 3; expected shard 0 of 3"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_command_line_refuses_a_shard_by_name(copy, monkeypatch, capfd, fault, says):
    before = copy.index.read_bytes()
    shard = fault(copy)
    command = ["wced", "shard-index", *map(str, copy.shards), "--cells", str(copy.cells)]
    monkeypatch.setattr(sys, "argv", [*command, "--vocabulary", str(copy.vocabulary), "--output", str(copy.index)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code not in (0, None)
    said = capfd.readouterr().err.strip()
    assert str(shard) in said and says in said and len(said.splitlines()) == 1
    assert copy.index.read_bytes() == before


@pytest.mark.parametrize("fault", [damaged, truncated, missing, swapped], ids=lambda fault: fault.__name__)
def test_a_reader_that_verifies_refuses_a_shard_by_name(copy, fault):
    shard = fault(copy)
    with pytest.raises(WcedError, match=shard.name):
        ShardSet(copy.folder, verify=True)


def test_no_flipped_bit_gets_through(copy):
    """Wherever a bit of a shard flips, it is refused, or it was in padding and nothing that is read has changed."""
    rng = np.random.default_rng(4)
    shard, unnoticed = copy.shards[1], 0
    content = shard.read_bytes()
    whole = pa.ipc.open_file(shard).read_all()
    for place, bit in zip(
        rng.integers(0, len(content), FLIPS).tolist(), rng.integers(0, 8, FLIPS).tolist(), strict=True
    ):
        flip(shard, place, bit)
        with pytest.raises(WcedError, match=shard.name):
            ShardSet(copy.folder, verify=True)
        try:
            write_index(copy.folder / "again.json", copy.shards, copy.cells, copy.vocabulary)
        except WcedError as failure:
            assert shard.name in str(failure)
        else:
            unnoticed += 1
            assert pa.ipc.open_file(shard).read_all().equals(whole), (place, bit)
        shard.write_bytes(content)
    assert unnoticed < FLIPS / 4
    assert len(ShardSet(copy.folder, verify=True)) == len(pd.read_parquet(copy.cells))
