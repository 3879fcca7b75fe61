"""A pretraining in two processes: the same results as in one, and exact after SIGTERM and after a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from wced import tables

pytestmark = pytest.mark.release(part="faults")

CHECKPOINT = {
    "wced": {},
    "mlm": {"select": 0.5},
    "input": {"length": 32, "dropout": 0.2},
    "label_heads": [
        {"column": "cell_type_ontology_term_id", "loss": "hierarchical"},
        {"column": "donor_id", "loss": "focal", "gradient_reversal": {}},
    ],
    "epochs": 3,
    "optimiser": {"learning_rate": 1e-3, "warmup_steps": 2},
}
MODEL = {"hidden_size": 16, "layers": 2, "heads": 2, "intermediate_size": 16, "decoder_width": 8}


def command(made, folder, *, devices, batch_size, dropout=0.3):
    section = {
        "model": MODEL | {"head_dropout": dropout},
        "checkpoints": {"m": CHECKPOINT | {"batch_size": batch_size}},
        "precision": "32-true", "devices": devices, "progress_every": 1, "save_every_minutes": 60,
    }  # fmt: skip
    return [
        sys.executable, "-m", "wced", "pretrain", "--index", str(made.shards / "index.json"), "--section",
        json.dumps(section), "--name", "m", "--state", str(folder / "state"), "--output", str(folder / "out"),
        "--seed", "5",
    ]  # fmt: skip


def run(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """The folder of an undisturbed training in two processes."""
    folder = tmp_path_factory.mktemp("whole")
    run(command(made, folder, devices=2, batch_size=32))
    return folder / "out"


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_two_processes_learn_what_one_learns(made, tmp_path):
    """Without dropout, which each process samples for its own cells."""
    results = {}
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        run(command(made, folder, devices=devices, batch_size=64 // devices, dropout=0.0))
        metrics = tables.read(tables.METRICS, folder / "out" / "metrics.tsv")
        errors = tables.read(tables.GENE_ERRORS, folder / "out" / "gene_errors.parquet")
        results[devices] = metrics, errors, load_file(folder / "out" / "model" / "model.safetensors")
    (metrics, errors, weights), (metrics_2, errors_2, weights_2) = results[1], results[2]
    assert metrics.drop(columns="value").equals(metrics_2.drop(columns="value"))
    np.testing.assert_allclose(metrics_2["value"], metrics["value"], rtol=2e-4)
    assert errors["n"].equals(errors_2["n"]) and errors["n_nonzero"].equals(errors_2["n_nonzero"])
    np.testing.assert_allclose(errors_2["nonzero_mae"], errors["nonzero_mae"], rtol=5e-3)
    for name, array in weights.items():
        np.testing.assert_allclose(weights_2[name], array, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_a_stopped_training_in_two_processes_resumes_exactly(made, tmp_path, whole, number):
    arguments = command(made, tmp_path, devices=2, batch_size=32)
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    deadline = time.monotonic() + 240
    while "epoch 2 step" not in (tmp_path / "log").read_text():
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.01)
    if number == signal.SIGTERM:  # a cluster signals the first process only, which must tell the others
        process.terminate()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    status = process.wait(timeout=120)
    assert status == (143 if number == signal.SIGTERM else -9), (tmp_path / "log").read_text()
    assert not (tmp_path / "out").exists() and list((tmp_path / "state").glob("*/last.ckpt"))
    run(arguments)
    assert contents(tmp_path / "out") == contents(whole)
