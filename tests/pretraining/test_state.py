import errno
import pickle
from pathlib import Path

import pytest
import torch

from wced import tables
from wced.errors import WcedError
from wced.pretraining import train
from wced.pretraining.state import Saved, TrainingState, WholeCheckpoints

IDENTITY = {"model": {"layers": 1}, "seed": 0}


@pytest.fixture
def index(tmp_path):
    path = tmp_path / "index.json"
    path.write_text("one")
    return path


def saved(state):
    """Let a training have saved its state."""
    state.begin(None, "m")
    state.step_0.mkdir()
    state.path.write_text("x")
    return state


def test_state_is_empty_at_first_and_removed_at_the_end(tmp_path, index):
    state = TrainingState(tmp_path / "state", IDENTITY, index)
    assert not state.folder.exists() and state.last is None
    state.begin(None, "m")
    assert state.folder.is_dir() and state.last is None
    (state.folder / "last.ckpt").write_text("x")
    assert state.last == state.folder / "last.ckpt"
    assert TrainingState(tmp_path / "state", IDENTITY, index).last == state.last
    state.finish()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("change", "shards"), [({"model": {"layers": 2}}, "one"), ({"seed": 1}, "one"), ({}, "two")], ids=str
)
def test_state_of_anything_else_is_not_used(tmp_path, index, change, shards):
    state = saved(TrainingState(tmp_path / "state", IDENTITY, index))
    index.write_text(shards)
    other = TrainingState(tmp_path / "state", IDENTITY | change, index)
    assert other.last is None and other.folder != state.folder
    assert state.last is not None


def test_files_of_gene_errors_sort_by_epoch(tmp_path, index):
    state = TrainingState(tmp_path / "state", IDENTITY, index)
    for table in (tables.GENE_ERRORS, tables.GENE_ERROR_SUMS):
        paths = [state.gene_errors(table, decoder, epoch) for decoder in ("mlm", "wced") for epoch in (1, 2, 10, 100)]
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


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path, files = tmp_path / "last.ckpt", WholeCheckpoints()
    files.save_checkpoint({"step": 3}, path)

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"No space left on device.*last\.ckpt"):
            files.save_checkpoint({"step": 4}, path)
    assert files.load_checkpoint(path, weights_only=True)["step"] == 3 and list(tmp_path.iterdir()) == [path]


CHECKPOINT = {"epochs": 10, "early_stop": None, "label_heads": [{"column": "a", "weight": 1.0}, {"column": "b"}]}
WHOLE = {"seed": 0, "precision": "32-true", "checkpoint": CHECKPOINT}


@pytest.mark.parametrize(
    ("changes", "difference", "extendable"),
    [
        ({"precision": "bf16-mixed"}, 'precision: "32-true" → "bf16-mixed"', True),
        ({"checkpoint": CHECKPOINT | {"epochs": 11}}, "checkpoint.epochs: 10 → 11", True),
        ({"checkpoint": CHECKPOINT | {"label_heads": [{"column": "a", "weight": 0.5}, {"column": "b"}]}},
         "checkpoint.label_heads.0.weight: 1.0 → 0.5", False),
        ({"devices": 2, "seed": 1}, "devices: none → 2; seed: 0 → 1", False),
    ],
    ids=["precision", "epochs", "head", "several"],
)  # fmt: skip
def test_differences_from_a_state_are_named(tmp_path, index, changes, difference, extendable):
    old = saved(TrainingState(tmp_path / "state", WHOLE, index))
    new = TrainingState(tmp_path / "state", WHOLE | changes, index)
    assert new.last is None and [other.folder for other in new.others()] == [old.folder]
    sentence = new.unlike(*new.others())
    assert sentence.startswith(f"{old.folder}: the training state there is not resumed")
    assert f": {difference}. " in sentence
    assert (f"extend_from: {old.folder}" in sentence) is extendable
    if extendable:
        assert new.extended(old.folder).path == old.path
    else:
        with pytest.raises(WcedError, match=f"only epochs, early_stop and precision may differ: {difference}"):
            new.extended(old.folder)


def test_other_shards_and_a_state_without_a_record_are_named(tmp_path, index):
    old = saved(TrainingState(tmp_path / "state", WHOLE, index))
    index.write_text("two")
    new = TrainingState(tmp_path / "state", WHOLE, index)
    assert "shards/index.json: " in new.unlike(old)
    old.section.unlink()
    assert "it has no record of what was trained" in new.unlike(Saved(old.folder))
    with pytest.raises(WcedError, match=r"extend_from: .* has no section\.json; name a finished checkpoint"):
        new.extended(old.folder)


def test_a_training_does_not_extend_itself(tmp_path, index):
    old = saved(TrainingState(tmp_path / "one", WHOLE, index))
    with pytest.raises(WcedError, match="is of the same training; ask for more epochs"):
        TrainingState(tmp_path / "two", WHOLE | {"name": "other"}, index).extended(old.folder)


@pytest.mark.parametrize(
    ("word", "here", "first", "kept"),
    [
        ("auto", "32-true", "bf16-mixed", True),
        ("auto", "bf16-mixed", "32-true", True),
        ("auto", "bf16-mixed", "16-mixed", False),
        ("32-true", "32-true", "bf16-mixed", False),
    ],
)
def test_auto_keeps_its_precision_on_another_device(tmp_path, index, monkeypatch, capsys, word, here, first, kept):
    monkeypatch.setattr(train, "precision_of", lambda _: here)
    old = saved(TrainingState(tmp_path / "state", WHOLE | {"precision": first}, index))
    identity = {key: value for key, value in WHOLE.items() if key != "precision"}
    state, precision, extended = train._state_of(tmp_path / "state", identity, index, word, None)
    assert (state.folder == old.folder, precision, extended) == (kept, first if kept else here, None)
    log = capsys.readouterr().out
    assert ("auto goes on in" in log) is kept and (f'precision: "{first}" → "{here}"' in log) is not kept


def test_equal_checkpoints_have_the_same_bytes(tmp_path):
    shared, sizes = "a string that is written once if it is shared", set()
    for equal in (shared, "".join(shared), shared[:5] + shared[5:]):
        WholeCheckpoints().save_checkpoint({"rows": [[shared], [equal]]}, tmp_path / "last.ckpt")
        sizes.add((tmp_path / "last.ckpt").stat().st_size)
    assert len(sizes) == 1
