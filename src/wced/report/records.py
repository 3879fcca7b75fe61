"""What the files of a run say of themselves: shards, checkpoints, and how each output was made."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from wced import tables
from wced.config import Run
from wced.config.pretraining import Checkpoint
from wced.errors import WcedError
from wced.files import existing
from wced.provenance import ENDING, provenance_path, read_record


def shards(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the index of a run's shards, and one row per shard."""
    path = existing(folder / "shards" / "index.json", "the index of the shards")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as failure:
        raise WcedError(f"{path}: not JSON ({failure}); remove it and run snakemake again") from None
    rows = pd.DataFrame(index["shards"])
    return index, rows[["file", "cells", "train", "validation", "nonzeros", "bytes", "sha256"]]


def checkpoints(folder: Path, run: Run) -> pd.DataFrame:
    """Return one row per checkpoint: what it was trained to do, on how much, and its last losses."""
    rows = []
    for name, trained in run.pretraining.checkpoints.items():
        place = folder / "pretraining" / name
        made = read_record(existing(provenance_path(place), "how a checkpoint was made"))
        metrics = tables.read(tables.METRICS, place / "metrics.tsv")
        losses = metrics[metrics["metric"] == "loss"].sort_values("step", kind="stable")
        last = losses.groupby("split")["value"].last()
        rows.append(
            {
                "checkpoint": name,
                "trained_to": objectives(trained),
                "parameters": made["parameters"],
                "train_cells": made["train_cells"],
                "validation_cells": made["validation_cells"],
                "epochs": int(losses["epoch"].max()),
                "steps": made["steps"],
                "last_train_loss": last.get("train"),
                "last_validation_loss": last.get("validation"),
                "seed": made["seed"],
                "device": made["device"],
                "precision": made["precision"],
            }
        )
    return pd.DataFrame(rows)


def objectives(trained: Checkpoint) -> str:
    """Return in words what a checkpoint is trained to do."""
    parts, depth = [], ", told the depth of the whole cell" if trained.depth else ""
    if trained.wced is not None:
        parts.append(f"decode the whole cell (WCED{depth})")
    if trained.mlm is not None:
        parts.append(f"fill in masked positions (MLM{depth})")
    heads = [head.column.removesuffix("_ontology_term_id").replace("_", " ") for head in trained.label_heads]
    return "; ".join([*parts, *([f"classify {', '.join(heads)}"] if heads else [])])


def provenance(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return how the outputs of a run were made.

    Parameters
    ----------
    folder
        Folder of the run.

    Returns
    -------
    tuple
        One row per output: command, inputs, code, seed and device; one row per package with its versions; one row per
        file from which cells were read, with its SHA-256. That of the report, which is being made, is left out.
    """
    outputs, versions, origins = [], {}, []
    for path in sorted(folder.rglob(f"*{ENDING}")):
        made, name = read_record(path), str(path.relative_to(folder)).removesuffix(ENDING)
        if made["command"] == "report":
            continue
        outputs.append(
            {
                "output": name,
                "command": made["command"],
                "inputs": len(made["inputs"]),
                "code": _code(made),
                "seed": "" if made.get("seed") is None else str(made["seed"]),
                "device": made.get("device", ""),
            }
        )
        for package, version in {"python": made["python"], **made["packages"]}.items():
            versions.setdefault(package, set()).add(version)
        if made["command"] == "source" and name.endswith(".h5ad"):
            for given in (given for what, given in made["inputs"].items() if what != "genes"):
                origins.append((Path(name).stem, Path(given["path"]).name, given["sha256"] or ""))
    packages = [(package, ", ".join(sorted(known))) for package, known in sorted(versions.items())]
    return (
        pd.DataFrame(outputs, columns=["output", "command", "inputs", "code", "seed", "device"]),
        pd.DataFrame(packages, columns=["package", "version"]),
        pd.DataFrame(origins, columns=["dataset", "file", "sha256"]),
    )


def _code(made: dict[str, Any]) -> str:
    """Return the version of the code that made an output, and its commit where it is known."""
    if not made.get("commit"):
        return f"wced {made['wced']}"
    return f"wced {made['wced']}, commit {made['commit'][:12]}" + (", modified" if made["modified"] else "")


def missing_scores(scores: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row for each reason why a model has no score on a dataset, with the metrics it is about.

    Parameters
    ----------
    scores
        tables.SCORES of each task.
    """
    columns = ["task", "dataset", "model", "reason"]
    if not scores:
        return pd.DataFrame(columns=[*columns[:3], "metrics", "reason"])
    every = pd.concat(scores.values(), ignore_index=True)
    left_out = every[every["reason"] != ""]
    counted = left_out.groupby(columns, sort=False).size().rename("metrics").reset_index()
    return counted[[*columns[:3], "metrics", "reason"]]
