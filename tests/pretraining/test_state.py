import pytest

from wced.pretraining.state import TrainingState

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
