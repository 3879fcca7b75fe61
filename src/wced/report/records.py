"""What the files of a run record: datasets, shards, checkpoints, how each output was made, and how long it took."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from wced import tables
from wced.config import Run
from wced.config.pretraining import Checkpoint
from wced.errors import WcedError
from wced.files import existing
from wced.provenance import ENDING, provenance_path, read_record


def sources(folder: Path, run: Run) -> pd.DataFrame:
    """Return one row per dataset: role, title and citation, then the columns of tables.SOURCES_QC."""
    import h5py
    from anndata.io import read_elem

    roles = tables.read(tables.LEAKAGE, folder / "tables" / "leakage.tsv").set_index("dataset")["role"].to_dict()
    rows = []
    for dataset in dict.fromkeys([*run.census.datasets, *run.embedding.datasets]):
        with h5py.File(existing(folder / "corpus" / "sources" / f"{dataset}.h5ad", "a harmonised dataset")) as file:
            uns = read_elem(file["uns"])
        role = "pretraining" if dataset in run.census.datasets else roles[dataset]
        rows.append({"dataset": dataset, "role": role, "title": uns["title"], "citation": uns["citation"]})
    qc = tables.read(tables.SOURCES_QC, folder / "tables" / "sources_qc.tsv")
    return pd.DataFrame(rows).merge(qc, on="dataset", validate="one_to_one")


def shards(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the index of a run's shards, and one row per shard."""
    path = existing(folder / "shards" / "index.json", "the index of the shards")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as failure:
        raise WcedError(f"{path}: not JSON ({failure}); delete it and run snakemake again") from None
    columns = ["file", "cells", "train", "validation", "nonzeros", "bytes", "sha256"]
    return index, pd.DataFrame(index["shards"])[columns]


def checkpoints(folder: Path, run: Run) -> pd.DataFrame:
    """Return one row per checkpoint: what it was trained to do, on how much, and its last losses."""
    rows = []
    for name, checkpoint in run.pretraining.checkpoints.items():
        path = folder / "pretraining" / name
        record = read_record(existing(provenance_path(path), "the provenance of a checkpoint"))
        metrics = tables.read(tables.METRICS, path / "metrics.tsv")
        losses = metrics[metrics["metric"] == "loss"].sort_values("step", kind="stable")
        last = losses.groupby("split")["value"].last()
        rows.append(
            {
                "checkpoint": name,
                "trained_to": _objectives(checkpoint),
                **{key: record[key] for key in ("parameters", "train_cells", "validation_cells")},
                "epochs": int(losses["epoch"].max()),
                "steps": record["steps"],
                "last_train_loss": last.get("train"),
                "last_validation_loss": last.get("validation"),
                **{key: record[key] for key in ("seed", "device", "precision")},
            }
        )
    return pd.DataFrame(rows)


def _objectives(checkpoint: Checkpoint) -> str:
    """Return in words what a checkpoint is trained to do."""
    depth = ", told the depth of the whole cell" if checkpoint.depth else ""
    heads = [head.column.removesuffix("_ontology_term_id").replace("_", " ") for head in checkpoint.label_heads]
    parts = [
        f"decode the whole cell (WCED{depth})" if checkpoint.wced is not None else "",
        f"fill in masked positions (MLM{depth})" if checkpoint.mlm is not None else "",
        f"classify {', '.join(heads)}" if heads else "",
    ]
    return "; ".join(filter(None, parts))


def provenance(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return how the outputs of a run were made, the report excepted, which is being made.

    Returns
    -------
    tuple
        One row per output: command, inputs, code, seed and device. One row per package with its versions. One row per
        file that cells were read from, with its SHA-256.
    """
    outputs, versions, origins = [], {}, []
    for path in sorted(folder.rglob(f"*{ENDING}")):
        record, name = read_record(path), str(path.relative_to(folder)).removesuffix(ENDING)
        if record["command"] == "report":
            continue
        seed = "" if record.get("seed") is None else str(record["seed"])
        inputs = record["inputs"]
        outputs.append((name, record["command"], len(inputs), _code(record), seed, record.get("device", "")))
        for package, version in {"python": record["python"], **record["packages"]}.items():
            versions.setdefault(package, set()).add(version)
        if record["command"] == "source" and name.endswith(".h5ad"):
            files = [file for what, file in inputs.items() if what != "genes"]
            origins += [(Path(name).stem, Path(file["path"]).name, file["sha256"] or "") for file in files]
    packages = [(package, ", ".join(sorted(several))) for package, several in sorted(versions.items())]
    return (
        pd.DataFrame(outputs, columns=["output", "command", "inputs", "code", "seed", "device"]),
        pd.DataFrame(packages, columns=["package", "version"]),
        pd.DataFrame(origins, columns=["dataset", "file", "sha256"]),
    )


def _code(record: dict[str, Any]) -> str:
    """Return the version of the code that made an output, and its commit if it is known."""
    if not record.get("commit"):
        return f"wced {record['wced']}"
    return f"wced {record['wced']}, commit {record['commit'][:12]}" + (", modified" if record["modified"] else "")


def missing_scores(scores: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row for each reason why a model has no score on a dataset, with the number of metrics.

    `scores` has rows of tables.SCORES for each task.
    """
    columns = ["task", "dataset", "model", "reason"]
    rows = pd.concat(scores.values()) if scores else pd.DataFrame(columns=columns)
    counts = rows[rows["reason"] != ""].groupby(columns, sort=False).size().rename("metrics").reset_index()
    return counts[[*columns[:3], "metrics", "reason"]]


def timings(folder: str | Path) -> pd.DataFrame:
    """Return one row of tables.TIMINGS for each command that made something of a run, the longest job first.

    Folders that a command made as a whole are not searched further. Downloads are elsewhere, as runs share them.
    """
    rows = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if f"{name}{ENDING}" not in files and not name.startswith(".")]
        for name in files:
            output = Path(parent) / name.removesuffix(ENDING)
            if name.endswith(ENDING) and output.exists():
                record = read_record(Path(parent) / name)
                if record["output"] == next(iter(record["outputs"])):  # the first of several outputs stands for the job
                    job = f"{record['command']} {output.relative_to(folder)}"
                    rows.append((job, *(record.get(column) for column in ("seconds", "max_rss_mb", "cpu_seconds"))))
    frame = pd.DataFrame(sorted(rows), columns=["job", "seconds", "max_rss_mb", "cpu_seconds"])
    return tables.checked(
        frame.sort_values("seconds", ascending=False, kind="stable", ignore_index=True), tables.TIMINGS
    )
