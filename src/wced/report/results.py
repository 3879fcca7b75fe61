"""Everything that the page shows, read from the folder of a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from wced import tables
from wced.benchmarks import published
from wced.config import Run
from wced.files import existing
from wced.report import records
from wced.report.figures import COLOURS
from wced.report.pages import Drawing, read_drawing


@dataclass(frozen=True)
class Results:
    """What the page is made from."""

    tables: dict[str, pd.DataFrame]
    """Tables of the run by their names, `scores` aside."""
    scores: dict[str, pd.DataFrame]
    """tables.SCORES of each task."""
    published: pd.DataFrame
    """tables.SCORES, what others have published of the benchmarks."""
    sources: pd.DataFrame
    """Datasets with role, title and citation, joined with tables.SOURCES_QC."""
    shard_index: dict[str, Any]
    """The index of the shards."""
    shards: pd.DataFrame
    """One row per shard."""
    checkpoints: pd.DataFrame
    """One row per checkpoint."""
    drawings: dict[str, list[Drawing]]
    """Figures by the stage that they belong to."""
    task_drawings: dict[str, dict[str, list[Drawing]]]
    """Figures of each task, of each dataset that has any, model after model."""
    outputs: pd.DataFrame
    """How each output was made."""
    packages: pd.DataFrame
    """Packages and their versions."""
    origins: pd.DataFrame
    """Files that cells were read from, with their SHA-256."""


_LEARNED = ("winners", "programs", "dynamics")
"""Figures of the analysis of genes that stand in the report too; its own page has all."""
_ALWAYS = (
    tables.SKIPPED,
    tables.CORPUS,
    tables.QC,
    tables.SAMPLING,
    tables.SPLIT,
    tables.SPLIT_EXCEPTIONS,
    tables.LEAKAGE,
    tables.LEARNABILITY,
    tables.LEARNABILITY_SUMMARY,
    tables.TIMINGS,
)
_OF_BENCHMARKS = (tables.RANKING, tables.COMPARISONS)
_OF_ABLATION = (tables.ABLATION, tables.ABLATION_EFFECTS)


def read_results(folder: str | Path, run: Run) -> Results:
    """Read everything that the page shows from the folder of a run; raise WcedError naming what is not there."""
    folder = Path(folder)
    wanted = [*_ALWAYS, *(_OF_BENCHMARKS if run.benchmarks.tasks else ()), *(_OF_ABLATION if run.ablation else ())]
    index, shards = records.shards(folder)
    outputs, packages, origins = records.provenance(folder)
    return Results(
        tables={table.name: tables.read(table, folder / "tables" / f"{table.name}.tsv") for table in wanted},
        scores={task: tables.read(tables.SCORES, folder / "tables" / f"{task}.tsv") for task in run.benchmarks.tables},
        published=published.scores(published.read(run.report.published)),
        sources=_sources(folder, run),
        shard_index=index,
        shards=shards,
        checkpoints=records.checkpoints(folder, run),
        drawings=_drawings(folder, run),
        task_drawings={task: _of_task(folder, run, task) for task in run.benchmarks.tasks},
        outputs=outputs,
        packages=packages,
        origins=origins,
    )


def _drawings(folder: Path, run: Run) -> dict[str, list[Drawing]]:
    own = folder / "report" / "figures"
    umaps = [f"umap_{dataset}_{colour}" for dataset in run.embedding.datasets for colour in COLOURS]
    learned = folder / "learnability" / "figures"
    return {
        "corpus": [_drawing(folder, own / "qc")],
        "pretraining": [_drawing(folder, own / "losses")],
        "embedding": [_drawing(folder, own / name) for name in umaps],
        "learnability": [_drawing(folder, own / "genes"), *(_drawing(folder, learned / name) for name in _LEARNED)],
        "comparisons": list(_drawings_in(folder, folder / "benchmarks" / "comparison.figures")),
        "ablation": list(_drawings_in(folder, folder / "ablation")) if run.ablation else [],
    }


def _of_task(folder: Path, run: Run, task: str) -> dict[str, list[Drawing]]:
    found = {
        dataset: [
            drawing
            for model in run.models_of(task)
            for drawing in _drawings_in(folder, folder / "benchmarks" / task / f"{dataset}.{model}.figures", model)
        ]
        for dataset in run.benchmarks.tasks[task].datasets
    }
    return {dataset: drawings for dataset, drawings in found.items() if drawings}


def _drawings_in(folder: Path, place: Path, of: str = "") -> Iterator[Drawing]:
    """Yield the figures of a folder."""
    for path in sorted(place.glob("*.svg")):
        yield _drawing(folder, path.with_suffix(""), of)


def _drawing(folder: Path, path: Path, of: str = "") -> Drawing:
    """Read a figure; links go from the page, which stands in `report`."""
    return read_drawing(path, (Path("..") / path.relative_to(folder)).as_posix(), of)


def _sources(folder: Path, run: Run) -> pd.DataFrame:
    import h5py
    from anndata.io import read_elem

    scored = tables.read(tables.LEAKAGE, folder / "tables" / "leakage.tsv").set_index("dataset")["role"].to_dict()
    about = []
    for dataset in dict.fromkeys([*run.census.datasets, *run.embedding.datasets]):
        with h5py.File(existing(folder / "corpus" / "sources" / f"{dataset}.h5ad", "a harmonised dataset")) as file:
            uns: dict[str, Any] = read_elem(file["uns"])
        role = "pretraining" if dataset in run.census.datasets else scored[dataset]
        about.append({"dataset": dataset, "role": role, "title": uns["title"], "citation": uns["citation"]})
    qc = tables.read(tables.SOURCES_QC, folder / "tables" / "sources_qc.tsv")
    return pd.DataFrame(about).merge(qc, on="dataset", validate="one_to_one")
