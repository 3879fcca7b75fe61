import json

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from learnability.simulated import annotation, write_checkpoint
from wced import tables
from wced.cli import commands
from wced.config.learnability import Learnability
from wced.learnability.analysis import Analysis, analyse

SECTION = Learnability(bootstraps=40, permutations=200, simulation={"z": (3.0,), "repeats": 3})


def analysed(
    folder, genes: pd.DataFrame | None, names: list[str], section: Learnability = SECTION, left_out=None
) -> Analysis:
    """Analyse checkpoints of a folder."""
    errors = tables.read(tables.GENE_ERRORS, [folder / name / "gene_errors.parquet" for name in names])
    sums = {name: folder / name / "gene_error_sums.parquet" for name in names}
    return analyse(errors, sums, genes, section, 0, left_out)


def run_command(folders, out, section: dict, *more: str) -> Result:
    """Run `wced learnability` on checkpoints, with all outputs in a folder."""
    outputs = {"all-epochs": "errors.parquet", "tables": "tables", "figures": "figures", "page": "report/genes.html"}
    options = [word for name, path in outputs.items() for word in (f"--{name}", str(out / path))]
    words = ["learnability", *map(str, folders), "--section", json.dumps(section), *options, *more]
    return CliRunner().invoke(commands.app, words)


def rows_of(analysis: Analysis, table: str, checkpoint: str, **wanted) -> pd.DataFrame:
    """Return the rows of a table that are of a checkpoint and have the wanted values."""
    rows = analysis.tables[table]
    for column, value in {"checkpoint": checkpoint, **wanted}.items():
        rows = rows[rows[column] == value]
    return rows


@pytest.fixture(scope="session")
def two_models(tmp_path_factory):
    """Folder of two checkpoints, their annotation, and indices of winners: 60 identity genes, 40 of them shared."""
    folder = tmp_path_factory.mktemp("two_models")
    genes = annotation(3000)
    identity = genes.index[genes["program"] == "identity"].to_numpy()
    write_checkpoint(folder / "w", genes, winners=identity[:50], strength=8)
    write_checkpoint(folder / "m", genes, winners=identity[10:60], strength=8, decoder="mlm", cells=2000)
    return folder, genes, identity


@pytest.fixture(scope="session")
def analysis(two_models) -> Analysis:
    folder, genes, _ = two_models
    return analysed(folder, genes, ["w", "m"])
