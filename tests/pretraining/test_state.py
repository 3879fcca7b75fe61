import errno
import pickle
from pathlib import Path

import pytest
import torch

from wced.errors import WcedError
from wced.pretraining.state import TrainingState, WholeCheckpoints

IDENTITY = {"model": {"layers": 1}, "seed": 0}


@pytest.fixture
def index(tmp_path):
    path = tmp_path / "index.json"
    path.write_text("one")
    return path


def test_state_begins_empty_and_ends_gone(tmp_path, index):
    state = TrainingState(tmp_path / "state", IDENTITY, index)
    assert state.folder.is_dir() and state.last is None
    (state.folder / "last.ckpt").write_text("x")
    assert state.last == state.folder / "last.ckpt"
    assert TrainingState(tmp_path / "state", IDENTITY, index).last == state.last
    state.finish()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("change", ["layers", "seed", "shards"])
def test_state_of_anything_else_is_not_used(tmp_path, index, change):
    state = TrainingState(tmp_path / "state", IDENTITY, index)
    (state.folder / "last.ckpt").write_text("x")
    if change == "shards":
        index.write_text("two")
    identity = {"layers": IDENTITY | {"model": {"layers": 2}}, "seed": IDENTITY | {"seed": 1}}.get(change, IDENTITY)
    other = TrainingState(tmp_path / "state", identity, index)
    assert other.last is None and other.folder != state.folder
    assert state.last is not None


def test_files_of_gene_errors_sort_by_epoch(tmp_path, index):
    state = TrainingState(tmp_path / "state", IDENTITY, index)
    for files in (state.gene_errors, state.gene_error_sums):
        paths = [files(decoder, epoch) for decoder in ("mlm", "wced") for epoch in (1, 2, 10, 100)]
        assert sorted(paths) == paths and len(set(paths)) == 8


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(pickle.dumps({"code": print}, 2)),
    ],
    ids=["cut off", "empty", "pickle with code"],
)
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    path, files = tmp_path / "last.ckpt", WholeCheckpoints()
    files.save_checkpoint({"step": 3, "weights": torch.arange(1000)}, path)
    assert files.load_checkpoint(path, weights_only=True)["step"] == 3
    damage(path)
    with pytest.raises(WcedError, match=r"last\.ckpt: the training state is damaged; remove it to begin anew"):
        files.load_checkpoint(path, weights_only=True)


def test_a_checkpoint_that_finds_no_room_leaves_the_last_one(tmp_path, monkeypatch):
    path, files = tmp_path / "last.ckpt", WholeCheckpoints()
    files.save_checkpoint({"step": 3}, path)

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"No space left on device.*last\.ckpt"):
            files.save_checkpoint({"step": 4}, path)
    assert files.load_checkpoint(path, weights_only=True)["step"] == 3 and list(tmp_path.iterdir()) == [path]
