"""The whole DAG on generated data, and what a second run, an edited section and a cluster profile make of it."""

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest
import yaml

from generated import write_generated_run, write_table
from planning import snakemake
from wced import config, tables
from wced.benchmarks.job import task_module
from wced.cli import warm
from wced.embedding.files import read_embedding
from wced.files import sha256
from wced.provenance import ENDING, trace

ROOT = Path(__file__).parents[2]
TASKS = ["zero_shot_integration", "czi", "zero_shot_annotation"]
MODELS = ["mlm_multitask", "wced_multitask", "concat", "wced_multitask_step_0", "untrained", "pca", "elsewhere"]


def run_all(path: Path, *targets: str, folder: Path = ROOT) -> None:
    """Run Snakemake as a user does, from the checkout or another folder, with the commands of this environment."""
    words = ["--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "--show-failed-logs", "--configfile", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words, "--", *targets],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"


def planned(*arguments: str | Path) -> dict[str, int]:
    """Return the number of jobs per rule that a dry run plans."""
    done = snakemake("--cores", "2", "--dry-run", *arguments)
    assert done.returncode == 0, done.stdout[-6000:]
    statistics = done.stdout.split("Job stats:")
    if len(statistics) == 1:
        return {}
    return {name: int(n) for name, n in re.findall(r"^(\w+)\s+(\d+)$", statistics[1].split("\n\n")[0], re.M)}


def add_dataset(table: Path, name: str, like: str, **changes: str) -> None:
    """Add a row to a table of datasets: another one with the file and the columns of one that is there, or changes."""
    rows = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False).set_index("dataset", drop=False).T.to_dict()
    write_table(rows | {name: rows[like] | {"dataset": name} | changes}, table)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the whole DAG once; return the config's path.

    To keep it short there is one held-out dataset, which one row adds to the table, and few baselines. The model
    `elsewhere`, which one entry adds to the config, is of another program's making.
    """
    path = write_generated_run(tmp_path_factory.mktemp("run"))
    add_dataset(path.with_name("datasets.tsv"), "added", like="held_blood")
    cells = ad.read_h5ad(path.with_name("held_blood.h5ad"))
    ad.AnnData(cells.X[::-1, :40].toarray(), obs=cells.obs[::-1][[]]).write_h5ad(path.with_name("elsewhere.added.h5ad"))
    path.with_name("elsewhere.more.h5ad").touch()  # for a plan
    short = yaml.safe_load(path.read_text())
    embeddings = str(path.with_name("elsewhere.{dataset}.h5ad"))
    short["embedding"] |= {
        "datasets": ["added"],
        "step_0": ["wced_multitask"],
        "baselines": ["pca"],
        "external": {"elsewhere": {"embeddings": embeddings, "n_params": 7}},
    }
    for task in TASKS:
        short["benchmarks"][task]["datasets"] = ["added"]
    path.write_text(yaml.safe_dump(short))
    run_all(path)
    return path


def results(path: Path) -> Path:
    run = config.read(path)
    return Path(run.results) / run.run


def test_a_dataset_of_one_row_and_a_model_of_one_entry_are_in_every_table(finished):
    assert config.read(finished).models == MODELS
    page = (results(finished) / "report/index.html").read_text()
    for task in TASKS:
        scores = tables.read(tables.SCORES, results(finished) / f"tables/{task}.tsv")
        assert set(zip(scores["model"], scores["dataset"], strict=True)) == {(model, "added") for model in MODELS}
        _, _, below = page.partition(f"<h3>{task_module(task).TITLE}</h3>")
        assert '<th scope="row">elsewhere' in below.partition("<h3>")[0]


def test_the_report_of_snakemake_is_made_without_network(finished, tmp_path):
    done = snakemake("--configfile", finished, "--report", tmp_path / "report.zip")
    assert done.returncode == 0, done.stdout[-6000:]
    with zipfile.ZipFile(tmp_path / "report.zip") as made:
        names = made.namelist()
        assert "report/report.html" in names
        for name in ("index.html", "genes.html", "zero_shot_integration.tsv", "ranking.svg"):
            assert any(path.endswith(name) for path in names), name


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        pytest.param(
            {"datasets": ["added", "more"]}, {"source": 1, "embed": 3, "neighbours": 7, "score": 21}, id="dataset"
        ),
        pytest.param({"baselines": ["pca", "hvg"]}, {"embed_baseline": 1, "neighbours": 1, "score": 3}, id="model"),
    ],
)
def test_a_further_dataset_or_model_makes_only_its_own_scores_again(finished, tmp_path, change, jobs):
    edited = yaml.safe_load(finished.read_text())
    table = tmp_path / "datasets.tsv"
    table.write_text(Path(edited["sources"]["table"]).read_text())
    add_dataset(table, "more", like="held_lung")
    edited["sources"]["table"] = str(table)
    edited["embedding"] |= change
    for task in TASKS:
        edited["benchmarks"][task]["datasets"] = edited["embedding"]["datasets"]
    other = tmp_path / "edited.yaml"
    other.write_text(yaml.safe_dump(edited))
    plan = planned("--configfile", other)
    assert {name: plan.get(name, 0) for name in jobs} == jobs
    assert not {"cells", "shard", "pretrain", "learnability"} & set(plan)
    assert plan["score_table"] == len(TASKS)


def test_a_file_of_another_program_that_is_not_there_stops_the_run(finished, tmp_path):
    edited = yaml.safe_load(finished.read_text())
    edited["embedding"]["external"]["elsewhere"]["embeddings"] = f"{tmp_path}/{{dataset}}.h5ad"
    other = tmp_path / "edited.yaml"
    other.write_text(yaml.safe_dump(edited))
    done = snakemake("--cores", "1", "--dry-run", "--configfile", other)
    sentence = f"config, embedding.external.elsewhere: {tmp_path}/added.h5ad is not there"
    assert done.returncode != 0 and sentence in done.stdout


def test_a_benchmark_that_is_null_is_not_run(finished, tmp_path):
    edited = yaml.safe_load(finished.read_text()) | {"run": "fewer"}
    edited["benchmarks"] = {"zero_shot_annotation": {"datasets": ["added"]}, "czi": None}
    other = tmp_path / "edited.yaml"
    other.write_text(yaml.safe_dump(edited))
    plan = planned("--configfile", other)
    assert (plan["score"], plan["score_table"]) == (len(MODELS), 1) and "neighbours" not in plan


def test_report_and_tables_are_there(finished):
    out = results(finished)
    page = (out / "report/index.html").read_text()
    assert page.count("<table") >= 6
    for name, schema in {"corpus": tables.CORPUS, "gene_errors": tables.GENE_ERRORS, "timings": tables.TIMINGS}.items():
        assert len(tables.read(schema, out / f"tables/{name}.tsv"))


@pytest.mark.parametrize(
    ("output", "threads"),
    [("benchmarks/zero_shot_integration/added.pca.tsv", "1"), ("pretraining/wced_multitask", "1")],
    ids=["score", "pretrain"],
)
def test_a_command_that_does_not_fork_from_the_warm_process_makes_the_same(finished, tmp_path, output, threads):
    record = trace(results(finished) / output).record
    places = {path: str(tmp_path / Path(path).name) for path in record["outputs"]}
    words = [places.get(word, word) for word in record["argv"][1:]]
    numbers = dict.fromkeys(warm.THREADS, threads)  # as Snakemake says them
    done = subprocess.run(
        [sys.executable, "-m", "wced", *words], cwd=ROOT, env=os.environ | numbers, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path(next(iter(places))).exists()
    for before, now in places.items():  # folders of figures may be empty
        paths = [path for path in [Path(before), *Path(before).rglob("*")] if path.is_file()]
        files = [path.relative_to(before) for path in paths if path.name != ".snakemake_timestamp"]
        assert {path: sha256(before / path) for path in files} == {path: sha256(now / path) for path in files}


def test_trained_models_learn_the_planted_cell_types(finished):
    out = results(finished) / "pretraining"
    for checkpoint in MODELS[:2]:
        losses = pd.read_csv(out / checkpoint / "metrics.tsv", sep="\t")
        losses = losses[(losses["split"] == "validation") & (losses["metric"] == "loss")].sort_values("epoch")
        assert losses["value"].iloc[-1] < 0.9 * losses["value"].iloc[0]


def test_weights_at_step_0_are_embedded_annotated_and_scored_from_their_own_folder(finished):
    out, model = results(finished), "wced_multitask_step_0"
    weights = {kind: out / "pretraining/wced_multitask" / kind / "model.safetensors" for kind in ("step_0", "model")}
    for file in (f"{model}.h5ad", f"{model}.annotation.parquet"):
        inputs = trace(out / "embedding/added" / file).record["inputs"]
        assert inputs["weights"]["sha256"] == sha256(weights["step_0"]) != sha256(weights["model"])
    facts = [read_embedding(out / f"embedding/added/{name}.h5ad").uns["wced"] for name in (model, "wced_multitask")]
    assert all(facts[0][key] == facts[1][key] for key in ("pooling", "leakage", "n_params", "width"))
    words = trace(out / f"benchmarks/zero_shot_annotation/added.{model}.tsv").record["argv"]
    assert f"--checkpoint={out}/pretraining/wced_multitask/step_0" in words


def test_training_state_is_gone(finished):
    assert not any((results(finished) / "state").glob("*"))


def test_every_output_is_traced_to_the_files_that_the_run_was_given(finished):
    out, others = results(finished), ("logs", "corpus/census")
    files = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
    made = [path for path in files if not str(path.relative_to(out)).startswith(others)]
    made = [path for path in made if not path.name.endswith(ENDING)]
    assert len(made) > 100
    given = {sha256(path) for path in finished.parent.iterdir() if path.is_file()}
    ends = {}
    for path in made:
        chain = trace(path)
        assert not chain.changed and all(not part.changed for part in chain.inputs.values()), path
        ends |= chain.sources()
    # Times are read from all records of the run, and a table of what is skipped is made of nothing.
    assert ends.pop(out).record is None
    assert ends.pop(out / "tables/skipped.tsv").record["command"] == "skipped"
    assert {path.parent for path in ends} == {finished.parent}
    assert {part.sha256 for part in ends.values()} <= given


def test_second_run_has_nothing_to_do(finished):
    assert planned("--configfile", finished) == {}


def test_editing_the_probe_runs_the_probe_and_the_report_only(finished, tmp_path):
    edited = yaml.safe_load(finished.read_text())
    edited["benchmarks"]["czi"]["folds"] = 3
    other = tmp_path / "edited.yaml"
    other.write_text(yaml.safe_dump(edited))
    jobs = planned("--configfile", other)
    assert (jobs.pop("score"), jobs.pop("score_table")) == (len(MODELS), 1)
    assert set(jobs) == {"compare", "timings", "report", "all", "total"}


def test_another_number_of_neighbours_scores_only_what_needs_them(finished, tmp_path):
    edited = yaml.safe_load(finished.read_text())
    edited["benchmarks"]["neighbours"] = 20
    other = tmp_path / "edited.yaml"
    other.write_text(yaml.safe_dump(edited))
    jobs = planned("--configfile", other)
    assert (jobs.pop("neighbours"), jobs.pop("score"), jobs.pop("score_table")) == (len(MODELS), len(MODELS), 1)
    assert set(jobs) == {"compare", "timings", "report", "all", "total"}


def test_a_checkpoint_without_an_ontology_head_is_embedded_and_not_annotated(finished, tmp_path):
    edited = yaml.safe_load(finished.read_text()) | {"run": "headless"}
    edited["pretraining"]["checkpoints"]["mlm_multitask"]["label_heads"] = []
    other = tmp_path / "edited.yaml"
    other.write_text(yaml.safe_dump(edited))
    jobs = planned("--configfile", other)
    assert (jobs["embed"], jobs["annotate"], jobs["score"]) == (3, 3, len(MODELS) * len(TASKS))


def test_one_table_can_be_asked_for(finished):
    table = results(finished) / "tables/zero_shot_integration.tsv"
    scores = sorted((results(finished) / "benchmarks/zero_shot_integration").glob("*.tsv"))
    jobs = planned("--configfile", finished, "--forcerun", *scores, "--", table)
    assert jobs == {"score": len(MODELS), "score_table": 1, "total": len(MODELS) + 1}


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
    done = snakemake("--cores", "1", "--dry-run", "--configfile", path)
    assert done.returncode != 0
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout


def test_config_files_are_read_as_they_are_written_and_with_each_key_once(tmp_path):
    path, more = write_generated_run(tmp_path), tmp_path / "more.yaml"
    path.write_text(path.read_text().replace("run: generated", "run: 010").replace("0.005", "5e-3"))
    more.write_text("seed: 1e1\ncells: {filter: {primary_only: yes}}\n")
    plan = snakemake("--cores", "1", "--dry-run", "--config", "seed=7", "--configfile", path, more)
    assert plan.returncode == 0 and f"{tmp_path}/results/010/corpus" in plan.stdout
    more.write_text("seed: 1\nseed: 2\n")
    done = snakemake("--cores", "1", "--dry-run", "--configfile", path, more)
    assert done.returncode != 0 and f"{more}, line 2: seed is given twice, first in line 1" in done.stdout


@pytest.mark.parametrize("rules", sorted(ROOT.glob("workflow/rules/*.smk")), ids=lambda path: path.stem)
def test_whatever_stands_in_a_shell_line_is_quoted(rules):
    lines = [line for line in rules.read_text().splitlines() if line.lstrip().startswith(('"', "'"))]
    placed = re.findall(r"{(?:input|output|params|log|wildcards|resources|threads)[^{}]*}", "".join(lines))
    assert [words for words in placed if not words.endswith(":q}")] == []
    assert len(placed) > 2 or rules.stem == "common"


def test_long_sections_travel_as_files_and_folders_may_have_any_name(tmp_path):
    folder = tmp_path / "O'Neil's \"Läufe\" (1)"
    folder.mkdir()
    fractions = {f"blood_symbols | {i:0100d} {{dataset}}": 0.5 for i in range(1000)}
    sampling = [{"kind": "stratified", "by": "donor_id", "fractions": fractions}]
    path = write_generated_run(folder, results="./my results/", cells={"sampling": sampling})
    row = {"title": "long " * 24_000, "role": "held_out", "path": "it's not there.h5ad"}
    add_dataset(folder / "datasets.tsv", "missing", like="held_lung", **row)
    config = yaml.safe_load(path.read_text())
    config["embedding"]["datasets"].append("missing")
    path.write_text(yaml.safe_dump(config))
    table = "my results/generated/tables/skipped.tsv"
    cells = "my results/generated/corpus/cells.parquet"
    words = ["--snakefile", ROOT / "Snakefile", "--cores", "1", "--dry-run", "-p", "--configfile", path]
    plan = snakemake(*words, "--", cells, table, folder=folder)
    files = re.findall(r"--(section|rows) 'my results/generated/sections/\w+\.json'", plan.stdout)
    assert plan.returncode == 0 and sorted(files) == ["rows", "section"]
    assert not (folder / "my results").exists()
    run_all(path, table, folder=folder)
    assert list(tables.read(tables.SKIPPED, folder / table)["missing"]) == ["it's not there.h5ad"]


def test_the_layout_of_the_catalog_and_modules_plan_what_the_snakefile_does(tmp_path):
    path, outer = write_generated_run(tmp_path), tmp_path / "Outer"
    text = (
        f'configfile: "{path}"\n\n\nmodule wced:\n    snakefile: "{ROOT}/workflow/Snakefile"\n    config: config\n\n\n'
    )
    outer.write_text(text + "use rule * from wced\n")
    jobs = planned("--configfile", path)
    assert jobs["report"] == 1
    assert planned("--snakefile", ROOT / "workflow/Snakefile", "--configfile", path) == jobs
    assert planned("--snakefile", outer) == jobs


def test_a_config_file_stands_in_place_of_the_demo(tmp_path):
    path = write_generated_run(tmp_path)
    plan = snakemake("--cores", "1", "--dry-run", "--configfile", path)
    assert plan.returncode == 0 and "results/demo" not in plan.stdout


def test_slurm_profile_sets_memory_partition_and_gpus_of_every_rule(tmp_path):
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.v9+.yaml").read_text())
    default, rules = profile["default-resources"], profile["set-resources"]
    # The demo itself, planned from nothing: another folder of results, and no config file but the default one.
    done = snakemake("--dry-run", "--profile", "slurm", "--config", f"results={tmp_path}")
    assert done.returncode == 0, done.stdout[-6000:]
    jobs = re.findall(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", done.stdout, re.M)
    # Rules that the demo does not need are in the profile too; those of the speedrun, which measures time, are not.
    written = "\n".join(path.read_text() for path in ROOT.glob("workflow/rules/*.smk"))
    assert {name for name, _ in jobs} - {"all"} <= set(rules) == set(re.findall(r"^rule (\w+):", written, re.M))
    for name, text in jobs:
        if name != "all":
            found = dict(item.split("=", 1) for item in text.split(", "))
            wanted = {key: str(value) for key, value in (default | rules[name]).items()}
            assert {key: found[key] for key in wanted} == wanted, name
            # A training has as many GPUs as the config says; the profile leaves that alone.
            assert ("gpu" in found) == ("gpu" in wanted or name == "pretrain"), name


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
