import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from wced import tables
from wced.cli import commands
from wced.embedding.files import write_embedding
from wced.errors import WcedError


@pytest.fixture
def embedding(tmp_path):
    """30 cells of three cell types, in two batches."""
    rng = np.random.default_rng(0)
    types = ["CL:0000084", "CL:0000236", "CL:0000576"] * 10
    x_nd = rng.normal(size=(30, 3)) + 3 * np.eye(3)[[0, 1, 2] * 10]
    names = [f"c{i}" for i in range(30)]
    obs = pd.DataFrame({"cell_type_ontology_term_id": types, "batch": ["x"] * 15 + ["y"] * 15}, index=names)
    write_embedding(tmp_path / "m.h5ad", x_nd, obs, model="m", dataset="d", n_params=3, leakage="none")
    return tmp_path / "m.h5ad"


def invoke(*words):
    assert CliRunner().invoke(commands.app, list(map(str, words)), catch_exceptions=False).exit_code == 0


def score(task, embedding, *more, section) -> pd.DataFrame:
    output = embedding.parent / f"{task}.tsv"
    invoke("score", task, "--embedding", embedding, "--section", json.dumps({"datasets": ["d"], **section}),
           "--run", "r", "--seed", 0, "--output", output, *more)  # fmt: skip
    assert (embedding.parent / f"{task}.tsv.provenance.json").exists()
    return tables.read(tables.SCORES, output).set_index("metric")


def test_integration_of_an_embedding_and_its_neighbours(embedding):
    graph = embedding.with_suffix(".npz")
    invoke("neighbours", "--embedding", embedding, "--count", 5, "--seed", 0, "--output", graph)
    assert (embedding.parent / "m.npz.provenance.json").exists()
    figures = embedding.parent / "figures"
    table = score("zero_shot_integration", embedding, "--neighbours", graph, "--figures", figures, section={})
    assert len(table) == 11 and table["value"].between(0, 1).all()
    assert figures.is_dir() and not list(figures.iterdir())


def test_probes_of_an_embedding(embedding):
    table = score("czi", embedding, section={"folds": 2, "min_class_size": 5})
    assert table.loc[["macro_f1", "macro_f1_lr", "accuracy"], "value"].between(0.3, 1).all()


@pytest.mark.parametrize(
    ("task", "section", "message"),
    [
        pytest.param("tea_making", {}, "tea_making: no such benchmark; there are zero_shot_integration, ", id="task"),
        pytest.param("zero_shot_integration", {}, "Integration needs --neighbours", id="neighbours"),
        pytest.param("czi", {"fold": 2}, "--section, fold: Extra inputs", id="section"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(embedding, task, section, message):
    with pytest.raises(WcedError, match=message):
        score(task, embedding, "--figures", embedding.parent / "figures", section=section)
    assert not (embedding.parent / f"{task}.tsv").exists() and not (embedding.parent / "figures").exists()
