"""The whole DAG on generated data, and what a second run, an edited section and a cluster profile make of it."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from generated import write_generated_run
from wced import config, tables

ROOT = Path(__file__).parents[2]
MODELS = ["mlm_multitask", "wced_multitask", "concat", "untrained", "pca"]


def snakemake(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run snakemake from the checkout, with the commands of this environment."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        pytest.fail(f"snakemake {' '.join(map(str, arguments))}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done


def planned(*arguments: str | Path) -> dict[str, int]:
    """Return the number of jobs per rule that a dry run plans."""
    done = snakemake("--cores", "2", "--dry-run", *arguments)
    statistics = (done.stdout + done.stderr).split("Job stats:")
    if len(statistics) == 1:
        return {}
    return {name: int(n) for name, n in re.findall(r"^(\w+)\s+(\d+)$", statistics[1].split("\n\n")[0], re.M)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the whole DAG once, with one held-out dataset and one baseline to keep it short; return the config's path."""
    path = write_generated_run(tmp_path_factory.mktemp("run"))
    short = yaml.safe_load(path.read_text())
    short["embedding"]["baselines"] = ["pca"]
    for section in [short["embedding"], *short["benchmarks"].values()]:
        section["datasets"] = ["held_blood"]
    path.write_text(yaml.safe_dump(short))
    snakemake("--cores", "2", "--show-failed-logs", "--configfile", path)
    return path


def results(path: Path) -> Path:
    run = config.read(path)
    return Path(run.results) / run.run


def test_every_score_table_has_every_model_and_dataset(finished):
    run = config.read(finished)
    for task, section in run.benchmarks:
        scores = tables.read(tables.SCORES, results(finished) / f"tables/{task}.tsv")
        found = set(zip(scores["model"], scores["dataset"], strict=True))
        assert found == {(model, dataset) for model in run.models for dataset in section.datasets}
    assert run.models == MODELS


def test_report_and_tables_are_there(finished):
    out = results(finished)
    page = (out / "report/index.html").read_text()
    assert page.count("<table") >= 6
    for name, schema in {"corpus": tables.CORPUS, "gene_errors": tables.GENE_ERRORS, "timings": tables.TIMINGS}.items():
        assert len(tables.read(schema, out / f"tables/{name}.tsv"))


def test_trained_models_learn_the_planted_cell_types(finished):
    out = results(finished) / "pretraining"
    for checkpoint in MODELS[:2]:
        losses = pd.read_csv(out / checkpoint / "metrics.tsv", sep="\t")
        losses = losses[(losses["split"] == "validation") & (losses["metric"] == "loss")].sort_values("epoch")
        assert losses["value"].iloc[-1] < 0.9 * losses["value"].iloc[0]


def test_training_state_is_gone(finished):
    assert not any((results(finished) / "state").glob("*"))


def test_second_run_has_nothing_to_do(finished):
    assert planned("--configfile", finished) == {}


def test_editing_the_probe_runs_the_probe_and_the_report_only(finished, tmp_path):
    edited = yaml.safe_load(finished.read_text())
    section = edited["benchmarks"]["cell_type_classification"]
    section["folds"] = 3
    other = tmp_path / "edited.yaml"
    other.write_text(yaml.safe_dump(edited))
    jobs = planned("--configfile", other)
    probes = len(MODELS) * len(section["datasets"])
    assert jobs.pop("cell_type_classification") == probes
    assert jobs.pop("total") == probes + len(jobs)
    assert set(jobs) == {"cell_type_classification_table", "timings", "report", "all"}


def test_a_checkpoint_without_an_ontology_head_is_embedded_and_not_annotated(finished, tmp_path):
    edited = yaml.safe_load(finished.read_text()) | {"run": "headless"}
    edited["pretraining"]["checkpoints"]["mlm_multitask"]["label_heads"] = []
    other = tmp_path / "edited.yaml"
    other.write_text(yaml.safe_dump(edited))
    jobs = planned("--configfile", other)
    assert (jobs["embed"], jobs["annotate"], jobs["zero_shot_annotation"]) == (2, 2, len(MODELS))


def test_one_table_can_be_asked_for(finished):
    table = results(finished) / "tables/zero_shot_integration.tsv"
    jobs = planned("--configfile", finished, "--forcerun", "zero_shot_integration", "--", table)
    assert set(jobs) == {"zero_shot_integration", "zero_shot_integration_table", "total"}


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("sseed", 1, "'sseed' was unexpected"),
        ("seed", "one", "config, seed: 'one' is not of type 'integer'"),
        ("census", {"datasets": ["nowhere"]}, "nowhere"),
    ],
    ids=["unknown key", "wrong type", "unknown dataset"],
)
def test_bad_config_stops_before_anything_runs(tmp_path, key, value, sentence):
    path = write_generated_run(tmp_path)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: value}))
    done = snakemake("--cores", "1", "--dry-run", "--configfile", path, check=False)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_config_file_stands_in_place_of_the_demo(tmp_path):
    path = write_generated_run(tmp_path)
    plan = snakemake("--cores", "1", "--dry-run", "--configfile", path)
    assert "results/demo" not in plan.stdout + plan.stderr


def test_slurm_profile_sets_memory_partition_and_gpus_of_every_rule(tmp_path):
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.v9+.yaml").read_text())
    default, rules = profile["default-resources"], profile["set-resources"]
    # The demo itself, planned from nothing: another folder of results, and no config file but the default one.
    done = snakemake("--dry-run", "--profile", "slurm", "--config", f"results={tmp_path}")
    jobs = re.findall(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", done.stdout + done.stderr, re.M)
    # Archives are shared by runs and may be there already.
    assert {name for name, _ in jobs} - {"all", "archive"} == set(rules) - {"archive"}
    for name, text in jobs:
        if name != "all":
            found = dict(item.split("=", 1) for item in text.split(", "))
            wanted = {key: str(value) for key, value in (default | rules[name]).items()}
            assert {key: found[key] for key in wanted} == wanted, name
            assert ("gpu" in found) == ("gpu" in wanted), name


def test_killed_pretraining_resumes_and_finishes(finished, tmp_path):
    section = config.read(finished).pretraining
    checkpoint = section.checkpoints["wced_multitask"].model_copy(update={"epochs": 12})
    section = section.model_copy(update={"checkpoints": {"c": checkpoint}, "save_every_minutes": 0.0001})
    command = [
        sys.executable, "-m", "wced", "pretrain", "--index", str(results(finished) / "shards/index.json"),
        "--section", section.model_dump_json(), "--name", "c", "--state", str(tmp_path / "state"),
        "--output", str(tmp_path / "out"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as job:
        limit = time.monotonic() + 90
        while not list(tmp_path.glob("state/*/gene_errors-wced-0002.parquet")):
            assert job.poll() is None and time.monotonic() < limit, job.stdout.read().decode()
            time.sleep(0.01)
        job.kill()
    assert not (tmp_path / "out").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming from" in done.stdout
    metrics = pd.read_csv(tmp_path / "out/metrics.tsv", sep="\t")
    assert sorted(metrics.loc[metrics["split"] == "validation", "epoch"].unique()) == list(range(1, 13))
    assert json.loads((tmp_path / "out.provenance.json").read_text())["steps"] == metrics["step"].max()
    assert not (tmp_path / "state").exists()
