import json
import math
import re
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from clouds import job
from generated import write_generated_run
from speed import speedrun_training
from speed.__main__ import app
from speed.speedrun import figure
from speed.speedrun_scores import Scorer, scored_datasets
from speed.speedrun_training import learning_rate, train
from wced import h5ad, tables
from wced.benchmarks.czi import Czi
from wced.benchmarks.czi.score import label_prediction
from wced.benchmarks.zero_shot_integration import Integration
from wced.benchmarks.zero_shot_integration.score import score
from wced.config import check, read
from wced.config import section as read_section
from wced.config.pretraining import Optimiser
from wced.config.speedrun import Speedrun
from wced.corpus.datasets import read_datasets
from wced.embedding.baselines.pca import pca
from wced.embedding.files import read_embedding, write_embedding
from wced.errors import WcedError
from wced.figures import save
from wced.files import sha256
from wced.pretraining.module import PretrainingModule
from wced.shards.reader import ShardSet

CONFIG = Path(__file__).parents[2] / "config"
CELL_TYPE = "cell_type_ontology_term_id"


def settings(**changes):
    """A recipe of a minute model; by the fake clock a step takes two seconds."""
    checkpoint = {
        "wced": {},
        "label_heads": [{"column": CELL_TYPE, "loss": "hierarchical"}],
        "input": {"length": 24, "dropout": 0.2},
        "batch_size": 64,
        "optimiser": {"learning_rate": 5e-3, "warmup_steps": 2, "schedule": "cosine", "final_fraction": 0.0},
    }
    model = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16, "value_frequencies": 4}
    checkpoint |= changes.pop("checkpoint", {})
    recipe = {"model": model | {"decoder_width": 16}, "checkpoints": {"quick": checkpoint}, "precision": "32-true"}
    recipe |= changes.pop("recipe", {})
    return {
        "recipe": recipe, "minutes": [0.1, 0.6], "seeds": [4], "validation": ["blood_symbols"], "neighbours": 5,
        "folds": 2, "min_class_size": 4, "n_top_genes": 100, "n_components": 5,
    } | changes  # fmt: skip


def section(**changes):
    return read_section(Speedrun, json.dumps(settings(**changes)))


class FakeClock:
    """A second passes each time it is read."""

    def __init__(self):
        self.seconds = count(100)
        self.slept = 0

    def __call__(self):
        return next(self.seconds) + self.slept


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(speedrun_training, "perf_counter", FakeClock())


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture(scope="module")
def rows(made):
    return read_datasets(made.run.sources.table)


def run(made, output, settings, *flags):
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({"run": "other", "speedrun": settings}))
    options = ["speedrun", "--index", made.shards / "index.json", "--sources", made.held_out.parent]
    options += ["--config", path, "--table", made.run.sources.table, "--output", output, *flags]
    done = CliRunner().invoke(app, list(map(str, options)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    """Two seeds on development data, by the fake clock; the held-out dataset of the section is not scored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speedrun_training, "perf_counter", FakeClock())
        output = tmp_path_factory.mktemp("speedrun") / "development"
        log = run(made, output, settings(datasets=["held_blood"], seeds=[4, 5], minutes=[0.1, 1.5]))
    return output, tables.read(tables.SPEEDRUN, output / "curve.tsv"), log


def test_the_curve_has_every_model_at_its_minutes(finished):
    _, curve, _ = finished
    assert set(curve["recipe"]) == {"quick"} and set(curve["dataset"]) == {"validation_blood_symbols"}
    assert set(curve["role"]) == {"development"}
    metrics = curve.groupby(["model", "seed", "minutes"])["metric"].agg(set)
    trained = {("untrained", seed, 0.0) for seed in (4, 5)} | {("recipe", s, m) for s in (4, 5) for m in (0.1, 1.5)}
    assert set(metrics.index) == trained | {(baseline, 4, 0.0) for baseline in ("hvg", "pca", "corpus_pca")}
    assert all({"avg_bio", "avg_batch", "macro_f1", "accuracy"} <= names for names in metrics)
    assert curve.loc[curve["metric"] == "avg_bio", "value"].between(0, 1).all()


def test_the_curve_has_facts_of_the_training(shards, finished):
    output, curve, log = finished
    recipe = curve[(curve["model"] == "recipe") & (curve["metric"] == "avg_bio")]
    per_seed = recipe.groupby("seed")
    assert (per_seed["steps"].diff().dropna() > 0).all() and (per_seed["loss"].diff().dropna() < 0).all()
    # Epochs follow one another until the time is over.
    assert (per_seed["cells_seen"].max() > 2 * shards.count("train")).all()
    rate = recipe["cells_seen"] / (60 * recipe["minutes"])
    assert recipe["cells_per_second"].to_numpy() == pytest.approx(rate, rel=0.5)
    still = curve[curve["model"] != "recipe"]
    assert still["loss"].isna().all() and (still["steps"] == 0).all() and (still["cells_seen"] == 0).all()
    facts = json.loads((output.parent / "development.provenance.json").read_text())
    assert set(facts["trainings"]) == {"4", "5"} and facts["held_out"] is False
    last = recipe[recipe["seed"] == 5].iloc[-1]
    assert facts["trainings"]["5"]["steps"] == last["steps"] and facts["trainings"]["5"]["cells"] == last["cells_seen"]
    assert re.search(r"seed 5, 0 min: 0 cells\n", log)
    assert re.search(r"seed 5, 1.5 min: \d+ cells \(\d+/s\), loss \d", log)
    assert facts["scored"] == {"validation_blood_symbols": {"role": "development", "sha256": None}}


def test_held_out_datasets_are_scored_with_the_flag(made, tmp_path, clock):
    held_out = settings(datasets=["held_blood"], validation=[], minutes=[0.1])
    run(made, tmp_path / "held_out", held_out, "--held-out")
    curve = tables.read(tables.SPEEDRUN, tmp_path / "held_out" / "curve.tsv")
    assert set(curve["role"]) == {"held_out"} and set(curve["dataset"]) == {"held_blood"}
    assert set(curve["model"]) == {"recipe", "untrained", "pca", "hvg", "corpus_pca"}
    facts = json.loads((tmp_path / "held_out.provenance.json").read_text())
    assert facts["scored"] == {"held_blood": {"role": "held_out", "sha256": sha256(made.held_out)}}
    # PCA is scored as the benchmarks score it.
    adata, path = h5ad.read(made.held_out), tmp_path / "pca.h5ad"
    facts = {"model": "pca", "dataset": "held_blood", "n_params": 0, "leakage": "x"}
    write_embedding(path, pca(adata, 100, 5, 4), adata.obs, **facts)
    embedding = read_embedding(path)
    probe = Czi(datasets=["held_blood"], folds=2, min_class_size=4, seed=4)
    integration = job(embedding, Integration(datasets=["held_blood"]), seed=4, count=5, cluster_seeds=5)
    probed = label_prediction(job(embedding, probe, seed=4))
    expected = pd.concat([score(integration), probed])
    values = curve[curve["model"] == "pca"].set_index("metric")["value"]
    np.testing.assert_allclose(values[expected["metric"]], expected["value"], rtol=1e-5)


def snapshots(shards, section, seed=4, take=None):
    collected = []

    def collect(snapshot):
        collected.append(snapshot)
        if take is not None:
            take(snapshot)

    facts = train(shards, section, seed, collect)
    return collected, facts


def same(a, b):
    first, second = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def test_scoring_takes_no_training_time_and_changes_nothing(shards, monkeypatch):
    trainings = []
    for slept in (0, 10_000):
        fake = FakeClock()
        monkeypatch.setattr(speedrun_training, "perf_counter", fake)

        def score(snapshot, fake=fake, slept=slept):
            assert not snapshot.model.training
            fake.slept += slept
            torch.rand(7)

        trainings.append(snapshots(shards, section(), take=score))
    (quick, facts), (slow, slow_facts) = trainings
    assert facts == slow_facts and [s.minutes for s in quick] == [0.0, 0.1, 0.6]
    assert all(same(a, b) for a, b in zip(quick, slow, strict=True))
    assert not same(quick[1], quick[2]) and not same(quick[0], quick[1])


def test_seeds_differ(shards, clock):
    (first, _), (second, _) = (snapshots(shards, section(minutes=[0.05]), seed) for seed in (4, 5))
    assert not same(first[0], second[0])


def test_several_minutes_within_a_step_give_the_same_model(shards, clock):
    taken, _ = snapshots(shards, section(minutes=[0.001, 0.002, 0.1]))
    assert [s.minutes for s in taken] == [0.0, 0.001, 0.002, 0.1]
    assert same(taken[1], taken[2]) and taken[1].steps == taken[2].steps == 1 and math.isnan(taken[2].loss)


def test_a_moving_average_is_what_is_scored(shards, clock):
    plain, _ = snapshots(shards, section(minutes=[0.2]))
    average, _ = snapshots(shards, section(minutes=[0.2], checkpoint={"ema_decay": 0.9}))
    name = next(n for n in plain[0].model.state_dict() if n.startswith("backbone") and n.endswith("weight"))
    start, end = (s.model.state_dict()[name] for s in plain)
    between = average[1].model.state_dict()[name]
    assert 0 < (between - start).norm() < 0.9 * (end - start).norm()


def test_learning_rate_follows_the_clock(shards, clock, monkeypatch):
    used, original = [], PretrainingModule.optimizer_step

    def spy(self, epoch, batch_index, optimizer, closure):
        used.append({group["lr"] for group in optimizer.param_groups})
        original(self, epoch, batch_index, optimizer, closure)

    monkeypatch.setattr(PretrainingModule, "optimizer_step", spy)
    snapshots(shards, section(minutes=[0.2, 0.6]))
    assert all(len(rates) == 1 for rates in used)
    rates = [rate for (rate,) in used]
    assert rates[0] == pytest.approx(2.5e-3, rel=0.02)  # the first of two steps of warming up
    assert rates[1] == max(rates) > 0.95 * 5e-3
    assert all(a > b for a, b in pairwise(rates[1:])) and rates[-1] < 0.01 * 5e-3


@pytest.mark.parametrize(
    ("step", "progress", "expected"),
    [(0, 0.0, 0.25), (1, 0.0, 0.5), (3, 0.0, 1.0), (9, 0.5, 0.6), (9, 1.0, 0.2), (9, 1.7, 0.2), (1, 0.5, 0.3)],
)
def test_learning_rate_warms_up_over_steps_and_falls_over_time(step, progress, expected):
    cosine = Optimiser(learning_rate=1.0, warmup_steps=4, schedule="cosine", final_fraction=0.2)
    assert learning_rate(cosine, step, progress) == pytest.approx(expected)
    constant = Optimiser(learning_rate=1.0, warmup_steps=4)
    assert learning_rate(constant, step, progress) == min((step + 1) / 4, 1)
    assert learning_rate(Optimiser(learning_rate=1.0, warmup_steps=0), step, progress) == 1


def test_validation_cells_are_those_of_the_source(made, shards, rows):
    (dataset,) = scored_datasets(shards, section(), made.held_out.parent, rows, held_out=False)
    cells = pd.read_parquet(made.cells)
    cells = cells[(cells["dataset_id"] == "blood_symbols") & (cells["split"] == "validation")]
    source = h5ad.read(made.held_out.parent / "blood_symbols.h5ad")  # the first of the collection: ids are its rows
    source = source[cells["soma_joinid"].to_numpy()]
    assert list(dataset.adata.obs_names.astype(int)) == list(cells["soma_joinid"])
    assert list(dataset.adata.obs[CELL_TYPE]) == list(source.obs[CELL_TYPE])
    genes = [gene for gene in shards.vocabulary.gene_ids if gene in source.var_names]
    assert list(dataset.adata.var_names) == genes
    np.testing.assert_array_equal(dataset.adata.X.toarray(), source[:, genes].X.toarray())
    assert dataset.adata.obs["batch"].str.endswith("EFO:0009899").all()


def test_a_large_dataset_is_represented_by_a_sample(made, shards, rows):
    def names(**changes):
        settings = section(datasets=["held_blood"], validation=[], max_cells=100, **changes)
        (dataset,) = scored_datasets(shards, settings, made.held_out.parent, rows, held_out=True)
        return list(dataset.adata.obs_names)

    whole = list(h5ad.read(made.held_out).obs_names)
    sample = names(seeds=[4])
    assert len(whole) > 100 == len(set(sample)) and sample == [name for name in whole if name in set(sample)]
    assert names(seeds=[4, 5]) == sample != names(seeds=[5])


@pytest.mark.parametrize(
    ("changes", "held_out", "message"),
    [
        ({"datasets": ["nobody"]}, False, "datasets: nobody is not in the table"),
        ({"datasets": ["lung_smartseq"]}, False, "lung_smartseq is trained on; list it in speedrun.validation"),
        ({"validation": ["held_blood"]}, False, "held_blood is none of the shards' datasets: blood_symbols,"),
        ({"validation": [], "datasets": ["held_blood"]}, False, "all its datasets are held out"),
        ({"validation": [], "datasets": ["held_lung"]}, False, "all its datasets are held out"),
        ({"validation": [], "datasets": ["held_lung"]}, True, r"held_lung\.h5ad: no such file"),
    ],
)
def test_datasets_that_cannot_be_scored_are_named(made, shards, rows, changes, held_out, message):
    with pytest.raises(WcedError, match=message):
        scored_datasets(shards, section(**changes), made.held_out.parent, rows, held_out=held_out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": [2.0, 1.0]}, "minutes: they must ascend"),
        ({"minutes": [0.0, 1.0]}, "greater than 0"),
        ({"seeds": [1, 1]}, "seeds: 1 is duplicated"),
        ({"validation": []}, "nothing to score"),
        ({"recipe": {"checkpoints": {"a": {"wced": {}}, "b": {"wced": {}}}}}, "a recipe is one checkpoint, here are 2"),
        ({"recipe": {"devices": 2}}, "a speedrun trains on one"),
        ({"checkpoint": {"extend_from": "m"}}, "extend_from has no effect in a speedrun"),
        ({"checkpoint": {"early_stop": {}}}, "early_stop and adaptive choices need validations"),
        ({"checkpoint": {"wced": None, "mlm": {"choice": "adaptive"}}}, "need validations"),
    ],
)
def test_sections_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(WcedError, match=message):
        section(**changes)


def test_a_diverging_training_is_refused_and_leaves_nothing(made, tmp_path, clock):
    diverging = {"optimiser": {"learning_rate": 1e30, "warmup_steps": 0}}
    with pytest.raises(WcedError, match=r"the loss is (nan|inf) after \d steps; lower recipe's"):
        run(made, tmp_path / "out", settings(minutes=[0.3], checkpoint=diverging))
    assert not list(tmp_path.glob("out/*")) and not (tmp_path / "out.provenance.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("run: x\n", "has no section speedrun"), ("speedrun: 3\n", "has no section speedrun"), ("a: [", "not YAML")],
)
def test_a_config_without_the_section_is_refused(made, tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    options = ["speedrun", "--index", "i", "--sources", "s", "--output", str(tmp_path / "out"), "--config", str(path)]
    with pytest.raises(WcedError, match=message):
        CliRunner().invoke(app, options, catch_exceptions=False)
    with pytest.raises(WcedError, match="exactly one of --section and --config"):
        CliRunner().invoke(app, options[:-2], catch_exceptions=False)


def test_scores_of_a_model_do_not_depend_on_what_was_scored_before(made, shards, rows, clock):
    settings = section(minutes=[0.2])
    datasets = scored_datasets(shards, settings, made.held_out.parent, rows, held_out=False)
    scorer = Scorer(shards, settings, datasets)
    (start, end), _ = snapshots(shards, settings)
    first, last = scorer.snapshot(start), scorer.snapshot(end)
    pd.testing.assert_frame_equal(Scorer(shards, settings, datasets).snapshot(end), last)
    assert not first["value"].equals(last["value"])


def test_the_figure_shows_seeds_and_baselines(finished, tmp_path):
    output, curve, _ = finished
    save(figure(curve, ("avg_bio", "macro_f1")), tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (output / "curve.svg").read_bytes()
    shown = figure(curve, ("avg_bio",))
    (axis,) = shown.axes
    lines = [line for line in axis.lines if len(line.get_xdata()) == 3]
    mean = curve[(curve["metric"] == "avg_bio") & (curve["minutes"] == 1.5)]["value"].mean()
    assert len(lines) == 3 and lines[-1].get_ydata()[-1] == pytest.approx(mean)
    across = {round(line.get_ydata()[0], 6) for line in axis.lines if len(line.get_xdata()) == 2}
    pca = curve[(curve["metric"] == "avg_bio") & (curve["model"] == "pca")]["value"].iloc[0]
    assert round(pca, 6) in across and len(across) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"datasets": ["lung_smartseq"]}, "datasets: lung_smartseq is in census.datasets"),
        ({"validation": ["held_blood"]}, "validation: held_blood is not in census.datasets"),
        (
            {"checkpoint": {"label_heads": [{"column": "age", "loss": "mse"}]}},
            r"speedrun\.recipe\.checkpoints\.quick\.label_heads: age is not in shards\.number_columns",
        ),
        ({"speed": 1}, r"speedrun: .*'speed' was unexpected"),
    ],
    ids=["good", "leaked", "elsewhere", "no_such_label", "unknown_key"],
)
def test_a_run_with_the_section_is_checked(tmp_path, changes, message):
    path = write_generated_run(tmp_path, speedrun=settings(**changes))
    if message is None:
        assert read(path).speedrun.name == "quick"
        return
    with pytest.raises(WcedError, match=message):
        read(path)


def test_the_config_of_the_checkout_fits_the_demo():
    demo, speedrun = (yaml.safe_load((CONFIG / f"{name}.yaml").read_text()) for name in ("demo", "speedrun"))
    assert list(speedrun) == ["speedrun"]
    settings, rows = check(demo | speedrun).speedrun, read_datasets(CONFIG / "datasets.tsv")
    assert {rows[name].role for name in settings.datasets} <= {"development", "held_out"}
    assert max(settings.minutes) == 10 and len(settings.seeds) == 3
