"""Damaged shards are refused by name, by the command line and by a reader of the index."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bad_inputs import damage
from wced.errors import WcedError
from wced.shards.reader import ShardSet
from wced.shards.write import write_index

pytestmark = pytest.mark.hard

FLIPS = 300


@pytest.fixture
def copy(made, tmp_path) -> SimpleNamespace:
    """A copy of the shards, to be damaged."""
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


def shorten_vocabulary(copy: SimpleNamespace) -> None:
    lines = copy.vocabulary.read_text().splitlines(keepends=True)
    copy.vocabulary.write_text("".join(lines[:-1]))


FAULTS = {
    "damaged": (lambda copy: damage.flip_bit(copy.shards[1]), 1, "is damaged"),
    "truncated": (lambda copy: damage.truncate(copy.shards[2]), 2, "not a whole Arrow file"),
    "missing": (lambda copy: damage.remove(copy.shards[1]), 1, "no such file"),
    "swapped": (lambda copy: damage.swap(*copy.shards[:2]), 0, "is shard 1 of 3; expected shard 0 of 3"),
    "foreign": (shorten_vocabulary, 0, "another vocabulary"),
    "stale": (lambda copy: damage.change_parquet(copy.cells, "fewer rows"), 0, "stale"),
}
"""What happens to the shards, the number of the shard that is refused, and the reason."""


@pytest.mark.parametrize("name", FAULTS)
def test_the_command_line_refuses_a_shard_by_name(copy, wced, name):
    before = copy.index.read_bytes()
    fault, number, reason = FAULTS[name]
    fault(copy)
    options = ["--cells", copy.cells, "--vocabulary", copy.vocabulary, "--output", copy.index]
    code, _, error = wced("shard-index", *copy.shards, *options)
    assert code not in (0, None)
    assert str(copy.shards[number]) in error and reason in error and len(error.splitlines()) == 1
    assert copy.index.read_bytes() == before


@pytest.mark.parametrize("name", ["damaged", "truncated", "missing", "swapped"])
def test_a_reader_that_verifies_refuses_a_shard_by_name(copy, name):
    fault, number, _ = FAULTS[name]
    fault(copy)
    with pytest.raises(WcedError, match=copy.shards[number].name):
        ShardSet(copy.folder, verify=True)


def test_no_flipped_bit_is_accepted(copy):
    """Wherever a bit of a shard flips, it is refused, or it was in padding and no value has changed."""
    rng = np.random.default_rng(4)
    shard, accepted = copy.shards[1], 0
    content = shard.read_bytes()
    whole = pa.ipc.open_file(shard).read_all()
    bytes_, bits = rng.integers(0, len(content), FLIPS).tolist(), rng.integers(0, 8, FLIPS).tolist()
    for byte, bit in zip(bytes_, bits, strict=True):
        flipped = bytearray(content)
        flipped[byte] ^= 1 << bit
        shard.write_bytes(flipped)
        with pytest.raises(WcedError, match=shard.name):
            ShardSet(copy.folder, verify=True)
        try:
            write_index(copy.folder / "again.json", copy.shards, copy.cells, copy.vocabulary)
        except WcedError as failure:
            assert shard.name in str(failure)
        else:
            accepted += 1
            assert pa.ipc.open_file(shard).read_all().equals(whole), (byte, bit)
    shard.write_bytes(content)
    assert accepted < FLIPS / 4
    assert len(ShardSet(copy.folder, verify=True)) == len(pd.read_parquet(copy.cells))
