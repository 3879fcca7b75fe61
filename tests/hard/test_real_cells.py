"""The demo's models learned more about real cells than the mean and the most frequent label."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from by_heart import OBJECTIVES, learn_by_heart
from wced import tables
from wced.config import read
from wced.pretraining.build import hierarchy
from wced.shards.reader import ShardSet

ROOT = Path(__file__).parents[2]
RUN = read(ROOT / "config" / "demo.yaml")
DEMO = ROOT / RUN.results / RUN.run


@pytest.fixture(scope="module")
def shards():
    """The demo's shards and trained checkpoints, made as by `make demo` if they are missing."""
    wanted = [f"{RUN.results}/{RUN.run}/pretraining/{name}" for name in RUN.pretraining.checkpoints]
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", "2", *wanted]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ShardSet(DEMO / "shards")


def last_epoch(checkpoint):
    """Return the metrics of the validation cells after the last epoch of a checkpoint."""
    rows = tables.read(tables.METRICS, DEMO / "pretraining" / checkpoint / "metrics.tsv")
    rows = rows[(rows["split"] == "validation") & (rows["epoch"] == rows["epoch"].max())]
    return rows.set_index("metric")["value"]


def log1p_10k(shards, split):
    """Return the values of a split's cells and which genes each of them measured; both cells x genes."""
    places = shards.places(split)
    cells = shards.take(places)
    shape = (len(places), len(shards.vocabulary))
    x_ng = sparse.csr_matrix((cells.count.astype(float), cells.gene.astype(np.int64), cells.offsets), shape).toarray()
    return np.log1p(1e4 * x_ng / x_ng.sum(axis=1, keepdims=True)), shards.measured_dv[shards.column("dataset", places)]


@pytest.mark.hard
def test_whole_cell_decoding_beats_the_mean_on_held_out_cells(shards):
    """The null has each gene's rate of expression and mean value in the training cells, but nothing about the cell."""
    x_ng, measured_ng = log1p_10k(shards, "train")
    expressed_ng = x_ng > 0
    n_g = np.maximum(measured_ng.sum(axis=0), 1)
    rate_g = np.clip(expressed_ng.sum(axis=0) / n_g, 1e-4, 1 - 1e-4)
    mean_g = x_ng.sum(axis=0) / np.maximum(expressed_ng.sum(axis=0), 1)
    x_ng, measured_ng = log1p_10k(shards, "validation")
    expressed_ng = x_ng > 0
    null_detection = -np.where(expressed_ng, np.log(rate_g), np.log(1 - rate_g))[measured_ng].mean()
    null_value = np.square(x_ng - mean_g)[expressed_ng].mean()
    metrics = last_epoch("wced_multitask")
    assert metrics["wced_detection"] < 0.95 * null_detection, null_detection
    assert metrics["wced_value"] < 0.8 * null_value, null_value


@pytest.mark.hard
@pytest.mark.parametrize("checkpoint", RUN.pretraining.checkpoints)
def test_label_heads_beat_the_best_constant_answer_on_held_out_cells(shards, checkpoint):
    section = RUN.pretraining.checkpoints[checkpoint]
    _, targets = hierarchy(shards, section)
    metrics = last_epoch(checkpoint)
    for head in section.label_heads:
        code_n = shards.column(head.column, shards.places("validation"))
        classes = len(shards.labels.classes[head.column])
        share_c = np.bincount(code_n[code_n >= 0], minlength=classes) / (code_n >= 0).sum()
        # A leaf is right for every label that it is a kind of; a flat class for itself.
        right_ca = targets[head.column].descendant_leaves_cl if head.column in targets else np.eye(classes)
        assert metrics[f"{head.column}_accuracy"] > (share_c @ right_ca).max() + 0.05, head.column


@pytest.mark.parametrize(
    "objective",
    [
        pytest.param(name, marks=pytest.mark.hard if name == "wced" else pytest.mark.release(part="scale"))
        for name in OBJECTIVES
    ],
)
def test_a_handful_of_real_cells_is_learned_by_heart(shards, objective):
    losses = learn_by_heart(shards, objective)
    assert losses[-1] < 0.2 * losses[0], (losses[0], losses[-1])
