"""The first half of a run from an object store, and over a network that fails."""

import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hard.proxy import FAULTS, FaultyProxy
from hard.running import cells_and_shards, first_half, outputs, write_config
from hard.store import BUCKET, KEYS, client, object_store, tiledb_settings, upload
from planning import results
from wced.shards.vocabulary import read_measured

release = pytest.mark.release(part="faults")

X = "census/census_data/homo_sapiens/ms/RNA/X/raw"
IMPATIENT = {"vfs.s3.connect_max_tries": "2", "vfs.s3.request_timeout_ms": "1000"}
"""TileDB tries twice only, so that faults get through to the attempts of wced."""


@pytest.fixture(scope="module")
def store(undisturbed, tmp_path_factory) -> Iterator[int]:
    """Yield the port of an object store with the collection of the undisturbed run."""
    with object_store(tmp_path_factory.mktemp("store") / "moto.log") as port:
        upload(results(undisturbed) / "corpus/census", port, "census")
        yield port


def remote_census(port: int, attempts: int) -> dict[str, Any]:
    """Return the config section of the collection at a port."""
    tiledb = tiledb_settings(port, **IMPATIENT)
    return {"uri": f"s3://{BUCKET}/census", "tiledb": tiledb, "attempts": attempts, "retry_wait_seconds": 0.05}


def remote_config(folder: Path, base: Path, port: int, attempts: int) -> Path:
    """Write a config that reads the collection at a port."""
    return write_config(folder / "config.yaml", base, results=str(folder), census=remote_census(port, attempts))


def expected(undisturbed: Path) -> dict[str, str]:
    """Return the outputs of the undisturbed run that a run with a collection elsewhere also has."""
    digests = outputs(results(undisturbed)).items()
    return {name: digest for name, digest in digests if not name.startswith("corpus/sources/")}


def logs(config: Path) -> str:
    return "".join(path.read_text() for path in sorted((results(config) / "logs").rglob("*.log")))


@pytest.fixture(scope="module")
def proxy(store) -> Iterator[FaultyProxy]:
    """Yield a proxy before the store, without faults."""
    with FaultyProxy(store) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def remote(undisturbed, proxy, tmp_path_factory) -> Path:
    """Make the first half from the store over a network without faults; return the config's path."""
    config = remote_config(tmp_path_factory.mktemp("remote"), undisturbed, proxy.port, attempts=3)
    first_half(config, extra=KEYS)
    return config


@pytest.mark.hard
def test_cells_and_shards_are_made_over_a_failing_network(made, tmp_path, monkeypatch, capfd):
    """In one process, not by Snakemake as below; and in another one than this, whose threads are the proxy."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with object_store(tmp_path / "moto.log") as port, FaultyProxy(port, rate=0.04, seed=1) as proxy:
        upload(made.census, port, "census")
        proxy.certain = "a0.tdb"  # the values of X, and a first column of every table
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(cells_and_shards, made, remote_census(proxy.port, attempts=10), tmp_path).result()
        met = dict(proxy.met)
    assert all(met.get(kind) for kind in FAULTS), met
    assert (tmp_path / "cells.parquet").read_bytes() == made.cells.read_bytes()
    files = ["vocabulary.tsv", "labels.json", "measured.arrow"]
    files += [path.name for path in made.shards.glob("shard-*.arrow")]
    assert len(files) == 6
    for name in files:
        assert (tmp_path / "shards" / name).read_bytes() == (made.shards / name).read_bytes(), name
    retries = re.findall(r"^(.*): attempt \d of 10 failed, again in", capfd.readouterr().out, re.M)
    for read in (r"s3://.*: cannot be opened", r"shard \d: datasets .*, soma_joinid \d+ to \d+$"):
        assert any(re.match(read, what) for what in retries), retries


@release
def test_shards_from_s3_are_those_from_a_folder(undisturbed, remote, proxy):
    assert outputs(results(remote)) == expected(undisturbed)
    assert not (results(remote) / "corpus/census").exists()
    assert proxy.met["requests"] == sum(proxy.met.values()) > 200
    assert "again in" not in logs(remote)


@release
def test_shards_are_the_same_over_a_failing_network(undisturbed, store, tmp_path):
    with FaultyProxy(store, rate=0.04, seed=1) as proxy:
        proxy.certain = "a0.tdb"  # the values of X, and a first column of every table
        config = remote_config(tmp_path, undisturbed, proxy.port, attempts=10)
        first_half(config, extra=KEYS)
        met = dict(proxy.met)
    assert outputs(results(config)) == expected(undisturbed)
    retries = re.findall(r"^(.*): attempt \d of 10 failed, again in", logs(config), re.M)
    print(f"{met}; {len(retries)} attempts after the first, {len(set(retries))} different reads")
    assert min(met.get(kind, 0) for kind in FAULTS) >= 2, met
    for read in (r"s3://.*: cannot be opened", r"shard \d: datasets .*, soma_joinid \d+ to \d+$"):
        assert any(re.match(read, what) for what in retries), retries


@release
def test_a_permanent_fault_stops_only_its_shards_and_names_them(undisturbed, remote, proxy, store):
    out, whole = results(remote), expected(undisturbed)
    cells = {place: cells_of(out / place) for place in whole if place.endswith(".arrow") and "shard-" in place}
    for place in [*cells, "shards/index.json"]:
        (out / place).unlink()
    before = times(out)

    # The counts of each dataset are one fragment, and the values of one of them cannot be read.
    listed = client(store).list_objects_v2(Bucket=BUCKET, Prefix=f"{X}/__fragments/")["Contents"]
    values = [row["Key"] for row in listed if row["Key"].endswith("/a0.tdb")]
    assert len(values) == len(set.union(*(datasets for datasets, _, _ in cells.values())))
    proxy.broken = values[0]
    stopped = first_half(remote, extra=KEYS, check=False)
    assert stopped.returncode != 0
    assert proxy.met["broken"] > 0
    failed = {place for place in cells if not (out / place).exists()}
    assert any(failed == {place for place in cells if name in cells[place][0]} for name in cells[min(failed)][0])
    assert 0 < len(failed) < len(cells)
    for place in failed:
        datasets, first, last = cells[place]
        log = (out / f"logs/shard/{re.search('[0-9]+', place)[0]}.log").read_text()
        sentence = log.strip().splitlines()[-1]
        assert f"datasets {', '.join(sorted(datasets))}, soma_joinid {first} to {last}: " in sentence, log
        assert sentence.endswith("(after 3 attempts)") and "Traceback" not in log, log
        # What Snakemake shows of a failed job is the same.
        assert sentence in stopped.stdout
    standing = outputs(out)
    assert standing.items() <= whole.items() and not (out / "shards/index.json").exists()
    between = times(out)
    assert before.items() <= between.items()

    proxy.broken = None
    first_half(remote, extra=KEYS)
    assert outputs(out) == whole
    assert between.items() <= times(out).items()


def times(out: Path) -> dict[str, int]:
    """Return when each output of a run was written."""
    return {place: (out / place).stat().st_mtime_ns for place in outputs(out)}


def cells_of(shard: Path) -> tuple[set[str], int, int]:
    """Return the datasets of a shard's cells, and the first and last soma_joinid."""
    table = pa.ipc.open_file(shard).read_all()
    names, _ = read_measured(shard.parent / "measured.arrow")
    joinids = table["soma_joinid"].to_numpy()
    return {names[code] for code in table["dataset"].to_numpy()}, joinids.min(), joinids.max()
