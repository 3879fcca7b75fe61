"""A small made-up run: all files that the report reads, written without a pipeline."""

import json

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from typer.testing import CliRunner

from wced import tables
from wced.benchmarks.job import task_module
from wced.cli import commands

TASKS = ["zero_shot_integration", "czi", "zero_shot_annotation"]
VALUES = {"one": 0.0, "two": 0.1, "untrained": 0.02, "untrained_1": 0.06, "hvg": 0.2}
"""Each model's score at every metric."""
RUN = {
    "run": "small",
    "genes": {"gencode": {"path": "g"}, "hgnc": {"path": "h"}},
    "census": {"datasets": ["corpus"]},
    "pretraining": {"checkpoints": {"one": {"wced": {"depth": True}}, "two": {"mlm": {}}}},
    "embedding": {"datasets": ["held"], "untrained": "one", "untrained_seeds": [1], "baselines": ["hvg"]},
    "benchmarks": {task: {"datasets": ["held"]} for task in TASKS},
    "ablation": {
        "checkpoints": {"one": {"objective": "WCED"}, "two": {"objective": "MLM"}},
        "metrics": {"zero_shot_integration": ["avg_bio"]},
    },
    "learnability": {"min_nonzero": 10},
}
EVIL = "<script>alert('T cell')</script>"


def row(table: tables.Table, **values) -> dict:
    blank = {"str": "x", "int": 1, "float": 0.5, "bool": True}
    return {column.name: values.get(column.name, blank[column.kind]) for column in table.columns}


def write(folder, table: tables.Table, *rows) -> None:
    """Write a table from the values of its rows that are not blank."""
    frame = pd.DataFrame([row(table, **values) for values in rows])
    tables.write(frame, table, folder / "tables" / f"{table.name}.tsv")


def write_results(folder) -> None:
    """Write all files that the report reads, except the figures."""
    (folder / "corpus" / "sources").mkdir(parents=True)
    for dataset in ("corpus", "held"):
        empty = ad.AnnData(X=sparse.csr_matrix((1, 1), dtype=np.float32))
        empty.uns = {"title": f"title of {dataset}", "citation": f"{EVIL} et al. 2020"}
        empty.write_h5ad(folder / "corpus" / "sources" / f"{dataset}.h5ad")
    cells = {"cells_in": 1200, "train": 1000, "validation": 190}
    write(
        folder, tables.CORPUS, {"level": "dataset", "dataset": "corpus", "split_by": "donor"} | cells,
        {"level": "cell_type", "dataset": "all", "term": "CL:1", "name": EVIL},
    )  # fmt: skip
    write(folder, tables.SOURCES_QC, {"dataset": "corpus"}, {"dataset": "held"})
    write(folder, tables.QC, {"rule": "low_counts", "low": 500, "high": np.nan, "removed": 777})
    write(folder, tables.QC_HISTOGRAMS, {"metric": "counts", "low": 100, "high": 1000, "cells": 9, "kept": 5})
    write(folder, tables.SAMPLING, *({"stratum": text, "cells_there": 60} for text in "ab"))
    write(folder, tables.SPLIT, {"method": "within 3 types of the optimum"})
    write(folder, tables.SPLIT_EXCEPTIONS, {"name": EVIL})
    write(folder, tables.SKIPPED, {"dataset": "nowhere_to_be_found"})
    write(folder, tables.LEAKAGE, {"dataset": "held", "corpus_dataset": "all", "by_hash": 543})
    for task in TASKS:
        rows = [
            row(tables.SCORES, task=task, dataset="held", model=model, metric=metric.name, n=321, ci_low=value - 0.03)
            | {"value": value, "ci_high": value + 0.03, "ci_method": "", "source": "here", "reason": ""}
            for model, value in VALUES.items()
            for metric in task_module(task).METRICS
        ]
        frame = pd.DataFrame(rows)
        if task == "zero_shot_annotation":
            frame.loc[frame["model"] == "hvg", ["value", "reason"]] = [np.nan, "no ontology head"]
        tables.write(frame, tables.SCORES, folder / "tables" / f"{task}.tsv")
    integration = {"task": "zero_shot_integration", "reason": ""}
    ranks = (("avg_bio", "all", 0.444), ("avg_bio", "held", 0.445), ("nmi", "all", 0.446))
    ranks = [integration | {"metric": metric, "dataset": dataset, "z": z} for metric, dataset, z in ranks]
    write(folder, tables.RANKING, *ranks)
    write(folder, tables.COMPARISONS, integration | {"metric": "avg_bio", "difference": 0.4567})
    write(folder, tables.ABLATION_EFFECTS, integration | {"factor": "objective", "difference": 0.3456})
    write(folder, tables.ABLATION, {"levels": "objective=WCED", "value": 0.2345, "reason": ""})
    for table in (tables.LEARNABILITY, tables.LEARNABILITY_SUMMARY, tables.TIMINGS):
        write(folder, table, {})
    write_trainings(folder)
    write_figures(folder)
    write_records(folder)


def write_trainings(folder) -> None:
    """Write metrics and gene errors of two checkpoints, and the UMAPs of all models."""
    rng = np.random.default_rng(0)
    errors = []
    for checkpoint in ("one", "two"):
        for gene in range(30):
            n_nonzero = 3 * gene + 5
            facts = {"checkpoint": checkpoint, "decoder": "wced", "gene_id": f"g{gene}", "n": 100}
            facts |= {"n_nonzero": n_nonzero, "zero_fraction": 1 - n_nonzero / 100}
            errors.append(facts | {"rescaled_mae": rng.uniform(0.1, 1), "rescaled_null_mae": 0.5})
        rows = [
            (checkpoint, split, epoch, 10 * epoch, metric, 1 / epoch)
            for epoch in (1, 2)
            for metric in ("loss", "detection", "cell_type_ontology_term_id_accuracy")
            for split in ("train", "validation")
        ]
        metrics = pd.DataFrame(rows, columns=tables.METRICS.names)
        tables.write(metrics, tables.METRICS, folder / "pretraining" / checkpoint / "metrics.tsv")
    write(folder, tables.GENE_ERRORS, *errors)
    rows = [
        ("held", model, f"c{i}", f"type {i % 12}", f"b{i % 2}", *rng.normal(size=2))
        for model in VALUES
        for i in range(40)
    ]
    tables.write(pd.DataFrame(rows, columns=tables.UMAP.names), tables.UMAP, folder / "held.parquet")


def write_figures(folder) -> None:
    """Write the figures of other rooms."""
    for path, names in {
        "benchmarks/zero_shot_annotation/held.one.figures": ["flow"],
        "benchmarks/comparison.figures": ["pareto"],
        "ablation": ["ablation"],
        "learnability/figures": ["winners", "programs", "dynamics", "families_one_wced"],
    }.items():
        (folder / path).mkdir(parents=True)
        for name in names:
            svg = "<svg xmlns='http://www.w3.org/2000/svg' height=\"30pt\" viewBox='0 0 9 3' width=\"90pt\"/>"
            (folder / path / f"{name}.svg").write_text(svg)
            (folder / path / f"{name}.md").write_text(f"# A {name} of {EVIL}\n\nOf nine cells.\n")


def write_records(folder) -> None:
    """Write the index of the shards, and the provenance of some outputs."""
    shard = {"file": "shard-00000.arrow", "cells": 1190, "train": 1000, "validation": 190, "nonzeros": 77, "bytes": 99}
    index = {"vocabulary_size": 1717, "cells": 1190, "shards": [shard | {"sha256": "5ad5ad"}]}
    (folder / "shards").mkdir()
    (folder / "shards" / "index.json").write_text(json.dumps(index))
    common = {"output": "", "section": {}, "inputs": {}, "wced": "0.1", "python": "3.11", "packages": {"torch": "9.9"}}
    pretrain = {"command": "pretrain", "parameters": 54321, "train_cells": 1000, "validation_cells": 190, "steps": 20}
    pretrain |= {"seed": 7, "device": "cpu", "precision": "32-true"}
    gather = {"command": "gather", "packages": {"torch": "9.8"}, "inputs": {"d": {"path": "d", "sha256": None}}}
    for path, facts in {
        "pretraining/one": pretrain,
        "pretraining/two": pretrain,
        "corpus/sources/corpus.h5ad": {
            "command": "source", "inputs": {"file": {"path": "a/b/archive.zip", "sha256": "c0ffee"}},
        },
        "tables/leakage.tsv": gather,
        "report/index.html": {"command": "report"},
    }.items():  # fmt: skip
        path = folder / f"{path}.provenance.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(common | facts))


def invoke(*options) -> None:
    assert CliRunner().invoke(commands.app, list(map(str, options)), catch_exceptions=False).exit_code == 0


def draw(folder, output) -> None:
    metrics = [folder / "pretraining" / name / "metrics.tsv" for name in ("one", "two")]
    invoke("figures", "--umap", folder / "held.parquet", "--metrics", metrics[0], "--metrics", metrics[1],
           "--gene-errors", folder / "tables" / "gene_errors.tsv", "--min-nonzero", 10, "--section", "{}",
           "--qc", folder / "tables" / "qc.tsv", "--qc-histograms", folder / "tables" / "qc_histograms.tsv",
           "--output", output)  # fmt: skip
