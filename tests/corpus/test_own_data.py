"""The worked example of docs/own_data.md: its files and commands, as they stand on the page, on generated data."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml

from generated import B_CELL, MONOCYTE, T_CELL, counts, genes, write_references
from wced import tables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own_data.md").read_text()
FILES = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = "".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)).splitlines()


def write_cells(path: Path, seed: int, types: str, names: dict[str, str] | None = None, **cycled: list[str]) -> None:
    """Write 60 cells; obs has their types in the column `types`, by name where `names` is given, and cycled values."""
    rng = np.random.default_rng(seed)
    terms = pd.Series(rng.choice([T_CELL, B_CELL, MONOCYTE], 60))
    obs = {types: terms if names is None else terms.map(names)}
    obs |= {column: np.resize(values, 60) for column, values in cycled.items()}
    frame = pd.DataFrame(obs).set_axis([f"cell{i}" for i in range(60)])
    adata = ad.AnnData(counts(list(terms), np.zeros(60), rng), obs=frame, var=pd.DataFrame(index=genes()["gene_id"]))
    adata.write_h5ad(path)


def write_data(folder: Path) -> None:
    """Write the files that the page speaks of."""
    folder.mkdir()
    write_cells(folder / "lung_a.h5ad", 0, "cell_type_ontology_term_id", donor=["a", "b", "c"])
    lung = ad.read_h5ad(folder / "lung_a.h5ad")
    lung.layers["counts"] = lung.X.copy()
    lung.X = lung.X.log1p()
    lung.var_names = genes()["symbol"]
    lung.write_h5ad(folder / "lung_a.h5ad")
    names = {T_CELL: "T cells", B_CELL: "B cells", MONOCYTE: "Monos"}
    for seed, donor in ((1, "d1"), (2, "d2")):
        write_cells(folder / f"blood_{donor}.h5ad", seed, "annotation", names)
    write_cells(folder / "lung_c.h5ad", 3, "cell_type", donor=["e", "f"], batch=["1", "2"])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A folder with what a checkout has, the page's files and the data that it speaks of; genes are generated ones."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Snakefile", "workflow", "envs", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "config", folder / "config")
    demo = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    gencode, hgnc = write_references(folder)
    demo["genes"] = {"gencode": {"path": str(gencode)}, "hgnc": {"path": str(hgnc)}}
    (folder / "config" / "demo.yaml").write_text(yaml.safe_dump(demo))
    for name, text in FILES.items():
        (folder / name).write_text(text)
    write_data(folder / "data")
    return folder


def run(folder: Path, command: str, *more: str) -> str:
    """Run a line of the page with the commands of this environment; return what it said."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    line = " ".join([command, *more])
    done = subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def test_page_has_three_commands():
    assert set(FILES) == {"own.tsv", "own_names.tsv", "own.yaml"}
    assert [command.split()[0] for command in COMMANDS] == ["snakemake", "wced", "snakemake"]


def test_commands_of_the_page(checkout):
    run(checkout, COMMANDS[0])
    said = run(checkout, COMMANDS[1])
    row = tables.read(tables.SOURCES_QC, checkout / "lung_a.qc.tsv").iloc[0]
    assert (row["cells"], row["cells_unlabelled"], row["genes_unmapped"]) == (60, 0, 0)
    assert re.search(r"genes_unmapped_fraction +0\.0", said)
    described = set(re.findall(r"`(\w+)`", PAGE[PAGE.index("| column |") : PAGE.index("## 4.")]))
    assert {column.name for column in tables.SOURCES_QC.columns} - {"dataset", "files"} <= described
    run(checkout, COMMANDS[1].replace("lung_a", "blood_b"), "--names own_names.tsv")
    row = tables.read(tables.SOURCES_QC, checkout / "blood_b.qc.tsv").iloc[0]
    harmonised = ad.read_h5ad(checkout / "blood_b.h5ad")
    assert (row["cells"], row["files"], row["cell_type_names_unmapped"]) == (120, 2, 1)
    assert row["cells_unlabelled"] == (harmonised.obs["cell_type"] == "unknown").sum() > 20
    assert harmonised.obs["donor_id"].value_counts().to_dict() == {"d1": 60, "d2": 60}
    planned = run(checkout, COMMANDS[2], "--dry-run")
    assert {rule: int(n) for rule, n in re.findall(r"^(source|shard|shard_index) +(\d+)$", planned, re.MULTILINE)} == {
        "source": 2,
        "shard": 4,
        "shard_index": 1,
    }
