"""A small made-up run: everything that the report reads, written without a pipeline."""

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


def write_results(folder) -> None:
    """Write everything that the report reads, but for the figures."""
    rng = np.random.default_rng(0)
    for dataset in ("corpus", "held"):
        empty = ad.AnnData(X=sparse.csr_matrix((1, 1), dtype=np.float32))
        empty.uns = {"title": f"title of {dataset}", "citation": f"{EVIL} et al. 2020"}
        (folder / "corpus" / "sources").mkdir(parents=True, exist_ok=True)
        empty.write_h5ad(folder / "corpus" / "sources" / f"{dataset}.h5ad")
    qc = pd.DataFrame([row(tables.SOURCES_QC, dataset=dataset) for dataset in ("corpus", "held")])
    tables.write(qc, tables.SOURCES_QC, folder / "tables" / "sources_qc.tsv")
    corpus = [
        row(tables.CORPUS, level="dataset", dataset="corpus", cells_in=1200, train=1000, validation=190)
        | {"split_by": "donor"},
        row(tables.CORPUS, level="cell_type", dataset="all", term="CL:1", name=EVIL),
    ]
    tables.write(pd.DataFrame(corpus), tables.CORPUS, folder / "tables" / "corpus.tsv")
    selection = {
        tables.QC: [row(tables.QC, rule="low_counts", low=500, high=np.nan, removed=777)],
        tables.QC_HISTOGRAMS: [row(tables.QC_HISTOGRAMS, metric="counts", low=100, high=1000, cells=9, kept=5)],
        tables.SAMPLING: [row(tables.SAMPLING, stratum=text, cells_there=60) for text in ("a", "b")],
        tables.SPLIT: [row(tables.SPLIT, method="within 3 types of the optimum")],
        tables.SPLIT_EXCEPTIONS: [row(tables.SPLIT_EXCEPTIONS, name=EVIL)],
        tables.SKIPPED: [row(tables.SKIPPED, dataset="nowhere_to_be_found")],
        tables.LEAKAGE: [row(tables.LEAKAGE, dataset="held", corpus_dataset="all", by_hash=543)],
    }
    for table, rows in selection.items():
        tables.write(pd.DataFrame(rows), table, folder / "tables" / f"{table.name}.tsv")
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
    drawn = {
        "benchmarks/zero_shot_annotation/held.one.figures": ["flow"],
        "benchmarks/comparison.figures": ["pareto"],
        "ablation": ["ablation"],
        "learnability/figures": ["winners", "programs", "dynamics", "families_one_wced"],
    }
    for place, names in drawn.items():
        (folder / place).mkdir(parents=True)
        for name in names:
            svg = "<svg xmlns='http://www.w3.org/2000/svg' height=\"30pt\" viewBox='0 0 9 3' width=\"90pt\"/>"
            (folder / place / f"{name}.svg").write_text(svg)
            (folder / place / f"{name}.md").write_text(f"# A {name} of {EVIL}\n\nOf nine cells.\n")
    same = {"task": "zero_shot_integration", "reason": ""}
    ranks = [
        row(tables.RANKING, metric=metric, dataset=dataset, z=z) | same
        for metric, dataset, z in (("avg_bio", "all", 0.444), ("avg_bio", "held", 0.445), ("nmi", "all", 0.446))
    ]
    tables.write(pd.DataFrame(ranks), tables.RANKING, folder / "tables" / "ranking.tsv")
    pair = row(tables.COMPARISONS, metric="avg_bio", difference=0.4567) | same
    tables.write(pd.DataFrame([pair]), tables.COMPARISONS, folder / "tables" / "comparisons.tsv")
    effect = row(tables.ABLATION_EFFECTS, factor="objective", difference=0.3456) | same
    tables.write(pd.DataFrame([effect]), tables.ABLATION_EFFECTS, folder / "tables" / "ablation_effects.tsv")
    level = row(tables.ABLATION, levels="objective=WCED", value=0.2345) | {"reason": ""}
    tables.write(pd.DataFrame([level]), tables.ABLATION, folder / "tables" / "ablation.tsv")
    write_records(folder)
    errors, metrics = [], []
    for checkpoint in ("one", "two"):
        for gene in range(30):
            n_nonzero = 3 * gene + 5
            errors.append(
                row(tables.GENE_ERRORS, checkpoint=checkpoint, decoder="wced", gene_id=f"g{gene}", n=100,
                    n_nonzero=n_nonzero, zero_fraction=1 - n_nonzero / 100,
                    rescaled_mae=rng.uniform(0.1, 1), rescaled_null_mae=0.5)
            )  # fmt: skip
        for epoch in (1, 2):
            for metric in ("loss", "detection", "cell_type_ontology_term_id_accuracy"):
                metrics += [
                    (checkpoint, split, epoch, 10 * epoch, metric, 1 / epoch) for split in ("train", "validation")
                ]
    tables.write(pd.DataFrame(errors), tables.GENE_ERRORS, folder / "tables" / "gene_errors.tsv")
    metrics = pd.DataFrame(metrics, columns=tables.METRICS.names)
    for checkpoint, rows in metrics.groupby("checkpoint"):
        tables.write(rows, tables.METRICS, folder / "pretraining" / checkpoint / "metrics.tsv")
    for table in (tables.LEARNABILITY, tables.LEARNABILITY_SUMMARY, tables.TIMINGS):
        tables.write(pd.DataFrame([row(table)]), table, folder / "tables" / f"{table.name}.tsv")
    coordinates = pd.DataFrame(
        [
            row(tables.UMAP, dataset="held", model=model, cell=f"c{i}", cell_type=f"type {i % 12}", batch=f"b{i % 2}",
                umap_1=rng.normal(), umap_2=rng.normal())
            for model in VALUES for i in range(40)
        ]
    )  # fmt: skip
    tables.write(coordinates, tables.UMAP, folder / "held.parquet")


def write_records(folder) -> None:
    """Write the index of the shards, and how some outputs were made."""
    shard = {"file": "shard-00000.arrow", "cells": 1190, "train": 1000, "validation": 190, "nonzeros": 77, "bytes": 99}
    index = {"vocabulary_size": 1717, "cells": 1190, "shards": [shard | {"sha256": "5ad5ad"}]}
    (folder / "shards").mkdir()
    (folder / "shards" / "index.json").write_text(json.dumps(index))
    made = {
        "output": "",
        "section": {},
        "inputs": {},
        "wced": "0.1",
        "python": "3.11",
        "packages": {"torch": "9.9"},
        "host": "here",
    }
    trained = {"command": "pretrain", "parameters": 54321, "train_cells": 1000, "validation_cells": 190, "steps": 20}
    trained |= {"seed": 7, "device": "cpu", "precision": "32-true"}
    source = {"command": "source", "inputs": {"file": {"path": "a/b/archive.zip", "sha256": "c0ffee"}}}
    for place, facts in {
        "pretraining/one": trained,
        "pretraining/two": trained,
        "corpus/sources/corpus.h5ad": source,
        "tables/leakage.tsv": {"command": "gather", "packages": {"torch": "9.8"}, "inputs": {"d": {"path": "d",
                                                                                                   "sha256": None}}},
        "report/index.html": {"command": "report"},
    }.items():  # fmt: skip
        path = folder / f"{place}.provenance.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made | facts))


def invoke(*given) -> None:
    assert CliRunner().invoke(commands.app, [str(part) for part in given], catch_exceptions=False).exit_code == 0


def draw(folder, output) -> None:
    metrics = [folder / "pretraining" / name / "metrics.tsv" for name in ("one", "two")]
    invoke("figures", "--umap", folder / "held.parquet", "--metrics", metrics[0], "--metrics", metrics[1],
           "--gene-errors", folder / "tables" / "gene_errors.tsv", "--min-nonzero", 10, "--section", "{}",
           "--qc", folder / "tables" / "qc.tsv", "--qc-histograms", folder / "tables" / "qc_histograms.tsv",
           "--output", output)  # fmt: skip
