from collections import namedtuple

import numpy as np
import pyarrow as pa
import pytest

from wced import resources
from wced.errors import WcedError
from wced.resources import Need, amount, available_memory, check, free_disk

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def machine(monkeypatch):
    """A machine with 10 GB of free disk and 4 GB of memory."""
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda folder: Usage(0, 0, 10_000_000_000))
    monkeypatch.setattr(resources, "available_memory", lambda: 4_000_000_000)


def test_enough_gives_no_message(machine, tmp_path, capsys):
    check(Need("the shard", disk=9e9, memory=3e9), tmp_path)
    assert capsys.readouterr() == ("", "")


def test_too_little_disk_is_an_error(machine, tmp_path):
    with pytest.raises(WcedError) as raised:
        check(Need("the shard", disk=12.34e9), tmp_path / "shards")
    assert str(raised.value) == (
        f"{tmp_path / 'shards'}: the shard takes about 12.3 GB of disk, but 10.0 GB are free; "
        "free some, or write to another file system"
    )


def test_too_little_memory_is_a_warning(machine, tmp_path, capsys):
    check(Need("the training", memory=5e9), tmp_path)
    text = capsys.readouterr().err
    assert text.startswith("wced: warning: the training takes about 5.0 GB of memory, but 4.0 GB are available;")
    assert text.count("\n") == 1


def test_the_disk_of_a_folder_that_does_not_exist_yet(tmp_path):
    assert free_disk(tmp_path / "a" / "b") == pytest.approx(free_disk(tmp_path), rel=0.1)


def test_the_machine_has_memory():
    assert 1e6 < available_memory() < 1e14


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"job": "1000"}, [1000 - 700 + 200]),
        ({"job": "max", "": "5000"}, [5000 - 700 + 200]),
        ({"job": "600"}, [100]),
        ({"job": "300"}, [0]),
        ({"job": "max"}, []),
    ],
    ids=["job", "parent", "cached_files", "over", "none"],
)
def test_limits_of_control_groups_are_read(tmp_path, limits, left):
    for group, limit in limits.items():
        folder = tmp_path / "fs" / "slurm" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("700\n")
        (folder / "memory.stat").write_text("anon 400\ninactive_file 200\n")
    (tmp_path / "cgroup").write_text("1:name=systemd:/x\n0::/slurm/job\n")
    assert resources._control_groups(tmp_path / "fs", tmp_path / "cgroup") == left


def test_a_machine_without_control_groups_has_no_limits(tmp_path):
    assert resources._control_groups(tmp_path, tmp_path / "none") == []


def test_a_shard_has_the_estimated_size(tmp_path):
    """Write a shard of the widest kind, seven labels; its size is within a twentieth of the estimate."""
    from wced.shards.counts import BATCH_NONZEROS
    from wced.shards.vocabulary import Labels, Vocabulary
    from wced.shards.write import shard_schema

    names = [f"l{i}" for i in range(7)]
    vocabulary = Vocabulary(tuple(f"ENSG{i:011d}" for i in range(2000)), tuple(f"S{i}" for i in range(2000)))
    labels = Labels(dict.fromkeys(names, ("a", "b")), None)
    schema, cells, genes = shard_schema(vocabulary, labels), 4000, 500
    flat = {"gene": np.tile(np.arange(genes, dtype=np.uint16), cells), "count": np.ones(cells * genes, np.uint32)}
    offsets = pa.array(np.arange(cells + 1, dtype=np.int32) * genes)
    arrays = [
        pa.ListArray.from_arrays(offsets, pa.array(flat[field.name]))
        if field.name in flat
        else pa.array(np.zeros(cells, field.type.to_pandas_dtype()))
        for field in schema
    ]
    with pa.ipc.new_file(tmp_path / "shard.arrow", schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    need = resources.shard(cells, cells * genes)
    assert (tmp_path / "shard.arrow").stat().st_size == pytest.approx(need.disk, rel=0.05)
    assert resources.BATCH_NONZEROS == BATCH_NONZEROS


@pytest.mark.parametrize(("width", "measured"), [(1024, 3387e6), (1536, 3942e6)])
def test_a_step_at_the_papers_size_takes_what_was_measured(width, measured):
    """docs/speed.md: mlm_step in float32, 8 cells of length 512; 53.7 million weights at width 1,536."""
    parameters = {1024: 46_600_000, 1536: 53_700_000}[width]
    none = Need("nothing")
    need = resources.pretraining(parameters, 8 * 513, 12, 384, width, none, on_gpu=False)
    assert need.memory == pytest.approx(measured, rel=0.1)
    assert resources.pretraining(parameters, 8 * 513, 12, 384, width, none, on_gpu=True).memory == resources.TRAINING


def test_the_selection_of_the_whole_census_takes_what_was_measured():
    assert resources.cells(62_600_000).memory == pytest.approx(5.0e9, rel=0.05)
    assert resources.cells(10_000_000).memory == pytest.approx(1.1e9, rel=0.15)


def test_gene_errors_take_the_estimated_memory_and_disk():
    need = resources.gene_errors(genes=19_000, blocks=256, epochs=10, decoders=1)
    assert need.memory == pytest.approx(117e6 + 78e6, rel=0.05)
    assert need.disk == pytest.approx(2 * 10 * 19_000 * 256 * 19, rel=0.05)


@pytest.mark.parametrize(("size", "text"), [(12_345_678, "12 MB"), (3.44e9, "3.4 GB")], ids=str)
def test_amounts(size, text):
    assert amount(size) == text
