import pytest

from wced import tables
from wced.checkpoint import load
from wced.config.pretraining import Pretraining
from wced.errors import WcedError
from wced.pretraining.train import pretrain


def section(**changes):
    checkpoint = {
        "wced": {}, "input": {"length": 32}, "order": {"epoch_cells": 300}, "epochs": 2, "batch_size": 50,
        "optimiser": {"learning_rate": 5e-3, "warmup_steps": 2}, "cells": 0.3,
    }  # fmt: skip
    model = {
        "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16, "value_frequencies": 4, "decoder_width": 8,
    }  # fmt: skip
    return Pretraining.model_validate(
        {"model": model, "checkpoints": {"m": checkpoint | changes}, "precision": "32-true", "progress_every": 3}
    )


@pytest.fixture
def train(made, tmp_path):
    def train(tag, **changes):
        facts = pretrain(tmp_path / tag, made.shards, tmp_path / f"{tag}.state", section(**changes), "m", 3)
        return facts, tmp_path / tag

    return train


def test_shares_of_a_corpus_are_trained_on_for_the_same_steps_and_validated_on_the_same_cells(train):
    (part, folder), (whole, other) = train("part"), train("whole", cells=1.0)
    assert 0.2 < part["train_cells"] / whole["train_cells"] < 0.4
    assert part["steps"] == whole["steps"] == 12 and part["validation_cells"] == whole["validation_cells"]
    errors = [tables.read(tables.GENE_ERRORS, path / "gene_errors.parquet") for path in (folder, other)]
    assert errors[0]["n"].tolist() == errors[1]["n"].tolist()
    assert f"{part['train_cells']} training" in (folder / "model" / "README.md").read_text()


def test_a_checkpoint_may_have_its_own_seed_on_the_same_cells(train):
    (first, folder), (second, other) = train("first", seed=8), train("second")
    assert (first["seed"], second["seed"]) == (8, 3) and first["train_cells"] == second["train_cells"]
    gene = [load(path / "model").model.embedding.gene.weight for path in (folder, other)]
    assert not gene[0].equal(gene[1])


def test_a_share_without_any_cell_is_refused(train):
    with pytest.raises(WcedError, match="no train cells"):
        train("none", cells=1e-9)
