"""Files of a run that users have to bring: held-out datasets without them are left out of the run."""

from collections.abc import Mapping
from pathlib import Path

from wced.archives import local_files
from wced.config import Run
from wced.corpus.datasets import Dataset
from wced.errors import WcedError


def missing_files(dataset: Dataset) -> list[str]:
    """Return the files on disk that a row names and that do not exist; archives are downloaded."""
    members = [member for member in (dataset.file, dataset.labels) if member is not None and member.path is not None]
    return [path for member in members for path in local_files(member, "") if not Path(path).exists()]


def unavailable(run: Run, datasets: Mapping[str, Dataset]) -> list[dict[str, str]]:
    """Return the held-out datasets that a run leaves out, as rows of tables.SKIPPED in the order of its config.

    A dataset of the pretraining corpus is never left out: without it the corpus would be another one.
    """
    rows = []
    for name in run.embedding.datasets:
        row = datasets[name]
        if missing := ", ".join(missing_files(row)):
            rows.append({"dataset": name, "title": row.title, "missing": missing, "accession": row.accession or ""})
    return rows


def check_files(run: Run, datasets: Mapping[str, Dataset]) -> None:
    """Raise WcedError naming the first file of the config that benchmarks or the report read and that does not exist.

    Snakemake would not: where it cannot make a table anew it keeps the one of an earlier run.
    """
    trained_on = [run.benchmarks.transfer.train_on] if "transfer" in run.benchmarks.tasks else []
    for name in trained_on:
        if missing := missing_files(datasets[name]):
            raise WcedError(f"config, benchmarks.transfer.train_on: {missing[0]} of {name} is not there")
    for model, external in run.embedding.external.items():
        for name in (*run.embedding.datasets, *trained_on):
            if not Path(external.path(name)).exists():
                raise WcedError(f"config, embedding.external.{model}: {external.path(name)} is not there")
    if not any(Path(run.report.published).glob("*.tsv")):
        raise WcedError(f"config, report.published: {run.report.published} is no folder with tables (.tsv)")


def in_words(row: Mapping[str, str]) -> str:
    """Return the line that says why a dataset is left out."""
    source = f"; it comes from {row['accession']}" if row["accession"] else ""
    return f"dataset {row['dataset']} is left out: {row['missing']} is not there{source}"
