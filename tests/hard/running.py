"""Running Snakemake as a user does, in its own folder, and comparing the outputs of runs."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import tiledbsoma as soma
import yaml

from planning import ROOT, environment, results
from wced.files import sha256


def write_config(path: Path, base: Path, **changes: Any) -> Path:
    """Write a config with some of its top-level keys replaced; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(yaml.safe_load(base.read_text()) | changes, sort_keys=False))
    return path


def command(config: Path, *more: str) -> list[str]:
    """Return the command that makes the first half of a run; Snakemake's own folder is beside the config."""
    return [
        sys.executable, "-m", "snakemake", str(results(config) / "shards/index.json"), *more,
        "--snakefile", str(ROOT / "Snakefile"), "--directory", str(config.parent),
        "--profile", str(ROOT / "profiles/local"), "--cores", "2", "--configfile", str(config),
    ]  # fmt: skip


def first_half(
    config: Path, *more: str, extra: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Make the first half of a run; its output has both streams."""
    done = subprocess.run(
        command(config, *more), env=environment(**extra or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout[-8000:]
    return done


def cells_and_shards(made: SimpleNamespace, census: dict[str, Any], folder: Path) -> None:
    """Make the cells and shards of the fixture `made` in another folder, from the collection of a section."""
    from wced.cli import corpus, shards

    cells, vocabulary = folder / "cells.parquet", folder / "shards/vocabulary.tsv"
    section = json.dumps(census)
    corpus.cells(made.run.cells.model_dump_json(), section, made.run.seed, cells, folder / "corpus.tsv")
    shards.vocabulary(made.genes, cells, section, vocabulary)
    for number in range(made.run.shards.count):
        shard = vocabulary.with_name(f"shard-{number:05d}.arrow")
        shards.shard(cells, vocabulary, section, made.run.shards.model_dump_json(), number, shard)


def outputs(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every file output of a run by its path, without the collection and provenance."""
    digests = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        excluded = name.startswith(("logs/", "corpus/census/")) or "/." in f"/{name}"
        if path.is_file() and not excluded and not name.endswith(".provenance.json"):
            digests[name] = sha256(path)
    return digests


def provenance(out: Path) -> dict[str, dict[str, Any]]:
    """Return the provenance files of a run without times and durations, and with `OUT` for the run's folder."""
    records = {}
    for path in sorted(out.rglob("*.provenance.json")):
        record = json.loads(path.read_text().replace(str(out), "OUT"))
        timed = ("started", "seconds", "cpu_seconds", "max_rss_mb")
        timeless = {key: value for key, value in record.items() if not key.startswith(timed)}
        records[path.relative_to(out).as_posix()] = timeless
    return records


def unfinished(out: Path) -> set[Path]:
    """Return the temporary folders in which outputs are being written, or were when their writer was killed."""
    # Not below outputs: the collection has thousands of folders, and this runs every few milliseconds.
    return {path for depth in ("*/.*", "*/*/.*") for path in out.glob(depth) if path.is_dir()}


def collection(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the content of a collection by element."""
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
    """Assert that the first halves of two runs are the same."""
    assert outputs(out) == outputs(reference)
    assert provenance(out) == provenance(reference)
    mine, theirs = collection(out / "corpus/census"), collection(reference / "corpus/census")
    for name, frame in theirs.items():
        pd.testing.assert_frame_equal(mine[name], frame, obj=name)
