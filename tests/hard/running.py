"""Running Snakemake as a user does, in a folder of its own, and comparing what runs have made."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import tiledbsoma as soma
import yaml

from wced.files import sha256

ROOT = Path(__file__).parents[2]


def write_config(path: Path, base: Path, **changes: Any) -> Path:
    """Write a config with some of its top-level keys replaced; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(yaml.safe_load(base.read_text()) | changes, sort_keys=False))
    return path


def results(config: Path) -> Path:
    """Return the folder of a config's run."""
    run = yaml.safe_load(config.read_text())
    return Path(run["results"]) / run["run"]


def command(config: Path, *more: str) -> list[str]:
    """Return the command that makes the first half of a run; Snakemake's own folder stands beside the config."""
    return [
        sys.executable, "-m", "snakemake", str(results(config) / "shards/index.json"), *more,
        "--snakefile", str(ROOT / "Snakefile"), "--directory", str(config.parent),
        "--profile", str(ROOT / "profiles/local"), "--cores", "2", "--configfile", str(config),
    ]  # fmt: skip


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which the rules find the `wced` of this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path} | dict(extra or {})


def first_half(
    config: Path, *more: str, extra: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Make the first half of a run; its output holds both streams."""
    done = subprocess.run(
        command(config, *more),
        env=environment(extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout[-8000:]
    return done


def cells_and_shards(made: SimpleNamespace, census: dict[str, Any], folder: Path) -> None:
    """Make the cells and shards of the fixture `made` in another folder, from the collection of a config section."""
    from wced.cli import corpus, shards

    cells, vocabulary = folder / "cells.parquet", folder / "shards/vocabulary.tsv"
    section = json.dumps(census)
    corpus.cells(made.run.cells.model_dump_json(), section, made.run.seed, cells, folder / "corpus.tsv")
    shards.vocabulary(made.genes, cells, section, vocabulary)
    for number in range(made.run.shards.count):
        shard = vocabulary.with_name(f"shard-{number:05d}.arrow")
        shards.shard(cells, vocabulary, section, made.run.shards.model_dump_json(), number, shard)


def outputs(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every file output of a run, by its path; the collection and provenance are no part."""
    found = {}
    for path in sorted(out.rglob("*")):
        place = path.relative_to(out).as_posix()
        elsewhere = place.startswith(("logs/", "corpus/census/")) or "/." in f"/{place}"
        if path.is_file() and not elsewhere and not place.endswith(".provenance.json"):
            found[place] = sha256(path)
    return found


def provenance(out: Path) -> dict[str, dict[str, Any]]:
    """Return the provenance files of a run without times and durations, and with `OUT` for the run's folder."""
    found = {}
    for path in sorted(out.rglob("*.provenance.json")):
        record = json.loads(path.read_text().replace(str(out), "OUT"))
        timed = ("started", "seconds", "cpu_seconds", "max_rss_mb")
        timeless = {key: value for key, value in record.items() if not key.startswith(timed)}
        found[path.relative_to(out).as_posix()] = timeless
    return found


def unfinished(out: Path) -> set[Path]:
    """Return the temporary folders in which outputs are being written, or were when their writer was killed."""
    # No deeper than outputs lie: the collection has thousands of folders, and this is asked every few milliseconds.
    return {path for depth in ("*/.*", "*/*/.*") for path in out.glob(depth) if path.is_dir()}


def collection(folder: Path) -> dict[str, pd.DataFrame]:
    """Return all that a collection holds, by element."""
    with soma.open(str(folder)) as census:
        experiment = census["census_data"]["homo_sapiens"]
        rna = experiment.ms["RNA"]
        parts = {name: census["census_info"][name].read() for name in ("summary", "datasets")}
        parts |= {"obs": experiment.obs.read(), "var": rna.var.read()}
        for name, matrix in {"X": rna.X["raw"], "presence": rna["feature_dataset_presence_matrix"]}.items():
            parts[name] = matrix.read().tables()
        frames = {name: part.concat().to_pandas() for name, part in parts.items()}
    keys = {"X": ["soma_dim_0", "soma_dim_1"], "presence": ["soma_dim_0", "soma_dim_1"]}
    return {
        name: frame.sort_values(keys.get(name, ["soma_joinid"]), ignore_index=True) for name, frame in frames.items()
    }


def assert_same_run(out: Path, reference: Path) -> None:
    """Assert that two runs have made the same first half."""
    assert outputs(out) == outputs(reference)
    assert provenance(out) == provenance(reference)
    mine, theirs = collection(out / "corpus/census"), collection(reference / "corpus/census")
    for name, frame in theirs.items():
        pd.testing.assert_frame_equal(mine[name], frame, obj=name)
