"""Every case of cases.yaml gives one sentence that names what is wrong, and writes and changes nothing."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from bad_inputs import damage
from wced import config, tables
from wced.corpus.availability import check_files, unavailable
from wced.corpus.datasets import check_run, read_datasets
from wced.errors import WcedError
from wced.shards.input_genes import InputGenes

TABLE = yaml.safe_load(Path(__file__).with_name("cases.yaml").read_text())
CASES = {case["name"]: {"command": part["command"]} | case for part in TABLE for case in part["cases"]}
OUTPUTS = ["out.h5ad", "qc.tsv", "out.npz", "trained/model/config.json", "tables/scores.tsv", "tables/corpus.tsv"]
"""What commands of the table write, besides files of the run."""


@pytest.fixture(scope="session")
def base(made, tmp_path_factory) -> Path:
    """A folder with a file of every kind that a run makes."""
    from wced.benchmarks.neighbours import Neighbours, write_neighbours
    from wced.checkpoint import Checkpoint, save
    from wced.embedding.files import write_embedding
    from wced.h5ad import read
    from wced.pretraining.build import build_model, hierarchy
    from wced.shards.reader import ShardSet

    folder = tmp_path_factory.mktemp("base") / "run"
    shutil.copytree(made.genes.parent, folder)
    for name in ("config.yaml", "datasets.tsv"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(str(made.genes.parent), str(folder)))
    shards = ShardSet(made.shards)
    section = made.run.pretraining.checkpoints["wced_multitask"]
    graph, _ = hierarchy(shards, section)
    model = build_model(shards, made.run.pretraining.model, section, graph, seed=0)
    (folder / "model").mkdir()
    genes = InputGenes(np.full(len(shards.vocabulary), 0.5))
    save(Checkpoint(model, shards.vocabulary, shards.labels, graph, genes), folder / "model")
    obs = read(made.held_out).obs
    facts = {"model": "one", "dataset": "held_blood", "n_params": 0, "leakage": "none"}
    write_embedding(folder / "embedding.h5ad", np.zeros((len(obs), 2)), obs, **facts)
    names, none = obs.index.to_numpy(str), np.zeros((len(obs), 0))
    clusters_crn, seed_c = np.zeros((1, 0, len(obs)), np.int32), np.zeros(1, np.int64)
    graph_of = Neighbours(names, none.astype(np.int32), none, clusters_crn, count=15, seed_c=seed_c)
    write_neighbours(folder / "neighbours.npz", graph_of)
    pd.DataFrame({"cell": names, "predicted_term": "CL:0000236"}).to_parquet(folder / "annotation.parquet")
    blank = {"str": "x", "int": 1, "float": 0.5, "bool": True}
    row = {column.name: blank[column.kind] for column in tables.SCORES.columns} | {"reason": ""}
    tables.write(pd.DataFrame([row]), tables.SCORES, folder / "scores.tsv")
    for name in OUTPUTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("of an earlier run")
    return folder


def check_config() -> None:
    """Do what the Snakefile does with a config before it plans."""
    run = config.read("config.yaml")
    datasets = read_datasets(run.sources.table)
    check_run(run, datasets)
    run = run.without([row["dataset"] for row in unavailable(run, datasets)])
    check_files(run, datasets)


def sections() -> dict[str, str]:
    """Return sections of the config as words of a shell, and the folder, because TileDB needs absolute paths."""
    run = yaml.safe_load(Path("config.yaml").read_text())
    parts = {name: section for name, section in (run | run["benchmarks"]).items() if isinstance(section, dict)}
    return {name: shlex.quote(json.dumps(section)) for name, section in parts.items()} | {"here": str(Path.cwd())}


def files() -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(Path().rglob("*"))}


def run(command: str, wced) -> str:
    """Run a command that must fail; return what it writes to stderr."""
    if command == "config":
        with pytest.raises(WcedError) as refusal:
            check_config()
        return f"wced: {refusal.value}\n"
    code, _, error = wced(*shlex.split(command.format_map(sections())))
    assert code == 1
    return error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_one_sentence_and_nothing_written(base, tmp_path, monkeypatch, wced, name):
    case = CASES[name]
    folder = tmp_path / "run"
    shutil.copytree(base, folder)
    monkeypatch.chdir(folder)
    for file in ("config.yaml", "datasets.tsv"):
        Path(file).write_text(Path(file).read_text().replace(str(base), str(folder)))
    for step in (case.get("damage"), case.get("then")):
        if step:
            getattr(damage, step[0])(*step[1:])
    before = files()
    message = run(case["command"], wced)
    assert message.count("\n") == 1, message
    pattern = re.escape(case["says"]).replace("…", ".*")
    assert re.fullmatch(f"wced: {pattern}", message.rstrip("\n")), message
    assert not damage.OPENED.exists()
    assert files() == before


def test_the_names_of_cases_are_unique():
    assert sum(len(part["cases"]) for part in TABLE) == len(CASES) >= 60


def test_debug_shows_a_traceback(tmp_path):
    words = ["gather", "nowhere.tsv", "--schema", "scores", "--output", str(tmp_path / "out.tsv")]
    for options in ([], ["--debug"]):
        done = subprocess.run(
            [sys.executable, "-m", "wced", *options, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1 and "nowhere.tsv: no such file; expected a table of scores" in done.stderr
        assert ("Traceback" in done.stderr) == bool(options)
    assert not any(tmp_path.iterdir())
