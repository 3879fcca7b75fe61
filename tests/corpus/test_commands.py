import json
import subprocess
import sys

import anndata as ad
from typer.testing import CliRunner

from generated import write_generated_run
from wced import tables
from wced.cli import commands
from wced.config import read
from wced.corpus.cells import read_cells
from wced.corpus.datasets import read_datasets

NAMES = ["blood_symbols", "spleen_ensembl", "lung_smartseq"]


def invoke(*arguments):
    result = CliRunner().invoke(commands.app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_commands_from_files_to_cells(tmp_path):
    run = read(write_generated_run(tmp_path))
    rows, genes = read_datasets(run.sources.table), tmp_path / "genes.parquet"
    output = invoke("gene-table", "--section", run.genes.model_dump_json(), "--gencode", run.genes.gencode.path,
                  "--hgnc", run.genes.hgnc.path, "--output", genes)  # fmt: skip
    assert "333 genes, 305 protein-coding" in output
    files = [tmp_path / f"{name}.harmonised.h5ad" for name in NAMES]
    for name, file in zip(NAMES, files, strict=True):
        row = rows[name]
        names = ["--names", run.sources.cell_type_names] if row.labels else []
        invoke("source", "--section", row.model_dump_json(), *names, "--genes", genes,
               "--output", file, "--qc", tmp_path / f"{name}.tsv")  # fmt: skip
    qc = tables.read(tables.SOURCES_QC, [tmp_path / f"{name}.tsv" for name in NAMES])
    assert qc["cells"].tolist() == [ad.read_h5ad(file).n_obs for file in files] == [218, 180, 155]
    census = run.census.model_dump_json()
    invoke("census", *files, "--organism", "homo_sapiens", "--output", tmp_path / "census")
    invoke("cells", "--section", run.cells.model_dump_json(), "--census", census, "--seed", run.seed,
           "--collection", tmp_path / "census", "--output", tmp_path / "cells.parquet",
           "--table", tmp_path / "corpus.tsv")  # fmt: skip
    cells = read_cells(tmp_path / "cells.parquet")
    assert len(cells) == qc["cells"].sum() - 4 - 3 - 2
    record = json.loads((tmp_path / "cells.parquet.provenance.json").read_text())
    assert record["command"] == "cells" and record["section"]["seed"] == run.seed
    record = json.loads((tmp_path / "genes.parquet.provenance.json").read_text())
    assert record["inputs"]["hgnc"]["path"] == run.genes.hgnc.path


def test_commands_import_little():
    heavy = "numpy", "pandas", "anndata", "tiledbsoma", "torch", "unearth"
    code = f"import sys, wced.corpus.datasets, wced.cli.corpus; print([n for n in {heavy} if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
