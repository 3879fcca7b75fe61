import shutil
import signal
from contextlib import contextmanager
from itertools import combinations, count

import numpy as np
import pandas as pd
import pytest
import torch

from wced import tables
from wced.checkpoint import load
from wced.config.pretraining import Pretraining
from wced.errors import WcedError
from wced.pretraining import train
from wced.pretraining.build import build_model, hierarchy
from wced.pretraining.callbacks import STOPPED
from wced.pretraining.gene_statistics import cell_values
from wced.pretraining.module import PretrainingModule
from wced.pretraining.start import start_from_statistics
from wced.pretraining.train import precision_of, pretrain
from wced.shards.reader import ShardSet
from wced.shards.vocabulary import Labels

HEADS = [
    {"column": "cell_type_ontology_term_id", "loss": "hierarchical", "schedule": {"start": 0.5}},
    {"column": "donor_id", "loss": "focal", "weight": 0.5, "schedule": {"start": 0.5}},
]


def section(objective="wced", **changes):
    """Four batches of training and one of validation an epoch, two epochs; a state is saved whenever it may be."""
    checkpoint = {
        objective: {}, "input": {"length": 32, "dropout": 0.2, "zeros": "interleave"}, "label_heads": HEADS,
        "epochs": 2, "batch_size": 128,
        "optimiser": {"learning_rate": 5e-3, "warmup_steps": 2, "schedule": "cosine"},
    }  # fmt: skip
    model = {
        "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16, "value_frequencies": 4,
        "decoder_width": 8, "head_dropout": 0.3,
    }  # fmt: skip
    return Pretraining.model_validate(
        {"model": model, "checkpoints": {"m": checkpoint | changes}, "precision": "32-true",
         "save_every_minutes": 1e-7, "progress_every": 3}
    )  # fmt: skip


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture
def run(made, tmp_path):
    """Train a section to its end; the state of a tag stays where it stops."""

    def run(settings, tag="m", seed=3, name="m"):
        run.facts = pretrain(tmp_path / tag, made.shards, tmp_path / f"{tag}.state", settings, name, seed)
        assert not (tmp_path / f"{tag}.state").exists()
        return tmp_path / tag

    return run


def metrics_of(folder):
    return tables.read(tables.METRICS, folder / "metrics.tsv")


def errors_of(folder):
    return tables.read(tables.GENE_ERRORS, folder / "gene_errors.parquet")


def initialised(shards, settings, seed):
    """The model of a section before its first step."""
    graph, _ = hierarchy(shards, settings.checkpoints["m"])
    model = build_model(shards, settings.model, settings.checkpoints["m"], graph, seed)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start_from_statistics(model, shards, cell_values(shards, "train", null=False), settings.model, seed)
    return model, before


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Killed(BaseException):
    """Ends a training at once, as a signal would."""


@contextmanager
def before_step(step, at, act):
    """Act before call number `at` (from 1) of a module's step; yield the counter of calls."""
    calls, whole = count(1), getattr(PretrainingModule, step)

    def acting(self, *batch):
        if next(calls) == at:
            act()
        return whole(self, *batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PretrainingModule, step, acting)
        yield calls


@contextmanager
def killed(step, at):
    def die():
        raise Killed

    with before_step(step, at, die), pytest.raises(Killed):
        yield


MLM = {"choice": "adaptive", "mask": 0.7, "hide_genes": 0.2, "value_scale": "gene_std"}
WHOLE = {"wced": {"ema_decay": 0.8}, "mlm_accumulated": {"wced": None, "mlm": MLM, "accumulate": 3}}
LOSSES = {
    "wced": {"wced_detection", "wced_value"}, "mlm_accumulated": {"mlm_detection", "mlm_value", "mlm_gene"}
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """Checkpoint folders of uninterrupted trainings."""
    folder = tmp_path_factory.mktemp("whole")
    for name, changes in WHOLE.items():
        pretrain(folder / name, made.shards, folder / f"{name}.state", section(**changes), "m", 3)
    return folder


@pytest.mark.parametrize(("name", "workers"), [("wced", 0), ("wced", 2), ("mlm_accumulated", 0)])
def test_the_same_training_gives_the_same_bytes(run, whole, name, workers):
    settings = section(**WHOLE[name]).model_copy(update={"workers": workers})
    assert contents(run(settings)) == contents(whole / name)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("order", {"strategy": "weighted", "columns": ["dataset_id", "cell_type_ontology_term_id"]}),
        ("order", {"strategy": "round_robin"}),
        ("order", {"batches": "one_dataset"}),
        ("order", {"bucket_steps": 4}),
        ("input", {"values": "ranks"}),
        ("input", {"values": "bins", "bins": 10}),
        ("input", {"zeros": "include"}),
        ("wced", {"value_scale": "gene_std"}),
    ],
    ids=["weighted", "round_robin", "one_dataset", "buckets", "ranks", "bins", "zeros", "scale"],
)
def test_choices_of_a_section_reach_the_training(run, whole, change, value):
    changed = {**section().checkpoints["m"].model_dump()[change], **value}
    other = contents(run(section(**{change: changed})))
    assert other.keys() == contents(whole / "wced").keys()
    assert other["model/model.safetensors"] != contents(whole / "wced")["model/model.safetensors"]


@pytest.mark.parametrize("alone", [False, True], ids=["beside_wced", "alone"])
def test_a_contrast_of_varied_inputs_is_trained_and_not_validated(run, alone):
    changes = {
        "contrast": {"positives": "cell_type_ontology_term_id", "most_links": 1},
        "input": {"length": 32, "min_length": 8, "subset": "informative", "leave_out": ["mitochondrial"],
                  "thinning": {"share": 1.0}, "panels": {"share": 0.5, "groups": ["mitochondrial"], "sizes": [50]}},
        "order": {"strategy": "weighted", "batches": "one_dataset"},
    }  # fmt: skip
    folder = run(section(**changes, **({"wced": None, "label_heads": []} if alone else {})))
    metrics = metrics_of(folder)
    by_split = metrics.groupby("split")["metric"].unique().map(set).to_dict()
    assert "contrast" in by_split["train"] and np.isfinite(metrics["value"]).all()
    validated = by_split["train"] - {"contrast"} | {f"{head['column']}_accuracy" for head in HEADS}
    assert by_split.get("validation", set()) == (set() if alone else validated)
    start, trained = (load(folder / kind).model.projection[0].weight for kind in ("step_0", "model"))
    assert not torch.equal(start, trained)


@pytest.mark.parametrize("name", WHOLE)
def test_the_weights_before_the_first_step_are_beside_the_trained_ones(whole, shards, name):
    model, _ = initialised(shards, section(**WHOLE[name]), 3)
    start, trained = (load(whole / name / kind) for kind in ("step_0", "model"))
    weights = start.model.state_dict()
    assert weights.keys() == trained.model.state_dict().keys()
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert not torch.equal(start.model.embedding.cls, trained.model.embedding.cls)
    files = {kind: contents(whole / name / kind) for kind in ("step_0", "model")}
    assert files["step_0"].keys() == files["model"].keys()
    same = {file for file, data in files["model"].items() if files["step_0"][file] == data}
    assert same == files["model"].keys() - {"model.safetensors", "README.md"}
    assert b"No step has changed them" in files["step_0"]["README.md"]


def test_heads_may_read_their_own_cls_positions(run, whole):
    head = {"column": "cell_type_ontology_term_id", "loss": "hierarchical", "cls_position": 1}
    settings = section().model_dump()
    settings["checkpoints"]["m"]["label_heads"] = [head]
    settings["model"]["cls_positions"] = 2
    checkpoint = load(run(Pretraining.model_validate(settings)) / "model")
    assert checkpoint.model.embedding.cls.shape[0] == 2
    assert checkpoint.model.config.label_heads[0]["cls_position"] == 1
    assert checkpoint.model.config.losses == {"wced": "cls", "cell_type_ontology_term_id": "cls:1"}
    assert checkpoint.model.config.readout == ["cls"]
    with pytest.raises(ValueError, match=r"reads CLS position 1, but model\.cls_positions is 1"):
        section(label_heads=[head])


def test_the_seed_and_the_moving_average_change_the_weights(run, whole):
    folders = run(section()), run(section(), "other", seed=4), whole / "wced"
    tokens = [load(folder / "model").model.embedding.cls for folder in folders]
    assert not any(torch.equal(*pair) for pair in combinations(tokens, 2))


@pytest.mark.parametrize(
    ("name", "step", "at", "saved"),
    [
        *(("wced", "training_step", at, at > 1) for at in (1, 3, 4, 5, 7)),  # batches 4 and 8 end an epoch
        *(("wced", "validation_step", at, True) for at in (1, 2)),
        *(("mlm_accumulated", "training_step", at, at > 3) for at in (3, 8)),  # both amid a step of three batches
    ],
)
def test_a_killed_training_resumes_to_the_same_bytes(run, tmp_path, whole, name, step, at, saved):
    with killed(step, at):
        run(section(**WHOLE[name]))
    assert not (tmp_path / "m").exists()
    assert bool(list(tmp_path.glob("m.state/*/last.ckpt"))) is saved
    with before_step("training_step", 0, None) as calls:
        assert contents(run(section(**WHOLE[name]))) == contents(whole / name)
    assert (next(calls) <= 8) is saved


def terminate():
    signal.raise_signal(signal.SIGTERM)


def test_sigterm_saves_the_state_at_the_end_of_the_step(run, whole):
    settings = section(**WHOLE["mlm_accumulated"]).model_copy(update={"save_every_minutes": 60.0})
    before = signal.getsignal(signal.SIGTERM)
    # The sixth batch is the second one of the first step of the second epoch.
    with before_step("training_step", 6, terminate) as calls, pytest.raises(SystemExit) as stopped:
        run(settings)
    assert stopped.value.code == STOPPED
    assert signal.getsignal(signal.SIGTERM) == before
    assert next(calls) == 8  # one more batch, which completed the step
    assert contents(run(settings)) == contents(whole / "mlm_accumulated")


def test_sigterm_ends_a_validation_at_once(run, whole):
    with before_step("validation_step", 1, terminate), pytest.raises(SystemExit):
        run(section(**WHOLE["wced"]))
    assert contents(run(section(**WHOLE["wced"]))) == contents(whole / "wced")


def test_training_ends_when_it_no_longer_gets_better(run):
    settings = {"epochs": 9, "early_stop": {"metric": "wced_value", "patience": 1}, "optimiser": {"learning_rate": 1.0}}
    folder = run(section(**settings))
    metrics = metrics_of(folder)
    values = metrics[(metrics["split"] == "validation") & (metrics["metric"] == "wced_value")]["value"].tolist()
    assert len(values) < 9 and values[-1] >= min(values[:-1]) and (np.diff(values[:-1]) < 0).all()
    assert errors_of(folder)["epoch"].max() == len(values)
    more = settings | {"early_stop": {"metric": "wced_value", "patience": 2}, "extend_from": str(folder)}
    # A training that ended by its patience goes on with a larger one.
    assert metrics_of(run(section(**more), "longer"))["epoch"].max() > len(values)


def test_all_objectives_can_be_learned_together(run):
    heads = [*HEADS, {"column": "tissue_ontology_term_id", "loss": "cross_entropy", "gradient_reversal": {}}]
    folder = run(section(mlm={"select": 0.5}, label_heads=heads))
    assert set(errors_of(folder)["decoder"]) == {"wced", "mlm"}
    config = load(folder / "model").model.config
    assert config.decoders == ["wced", "mlm"] and config.label_heads[2]["column"] == "tissue_ontology_term_id"


def test_labels_alone_can_be_learned(run):
    folder = run(section(wced=None))
    assert not (folder / "gene_errors.parquet").exists()
    assert set(metrics_of(folder)["metric"]) >= {"loss", "cell_type_ontology_term_id_accuracy"}


def test_state_of_another_section_is_not_used(run, tmp_path, whole, capsys):
    with killed("training_step", 4):
        run(section(optimiser={"learning_rate": 1e-4}))
    (saved,) = tmp_path.glob("m.state/*/last.ckpt")
    assert contents(run(section(**WHOLE["wced"]))) == contents(whole / "wced")
    log = capsys.readouterr().out
    assert f"{saved.parent}: the training state there is not resumed, this training begins anew: " in log
    assert "checkpoint.ema_decay: null → 0.8; checkpoint.optimiser.learning_rate: 0.0001 → 0.005" in log


@pytest.mark.parametrize("source", ["finished", "state"])
def test_an_extended_training_is_that_of_its_whole_length(run, tmp_path, monkeypatch, source):
    changes = WHOLE["mlm_accumulated"] | {"ema_decay": 0.8, "optimiser": {"learning_rate": 5e-3, "warmup_steps": 2}}

    def trained(tag, name="m", **more):
        settings = section(**changes | more)
        settings = settings.model_copy(update={"checkpoints": {name: settings.checkpoints["m"]}})
        return contents(run(settings, tag, name=name))

    if source == "finished":
        before = trained("short")
        folder, step = tmp_path / "short", 4
    else:
        with killed("training_step", 8):
            trained("short")
        (folder,), step = (tmp_path / "short.state").iterdir(), 3
    with monkeypatch.context() as patch:
        patch.setattr(train, "cell_values", None)  # the training cells are not read again
        longer = trained("longer", "other", epochs=3, extend_from=str(folder))
    at_once = trained("at_once", "other", epochs=3)
    config = load(tmp_path / "longer/model").model.config
    assert config.extended == [{"step": step, "epochs": 2, "precision": "32-true"}]
    assert b"up to step" in longer["model/README.md"] and b"up to step" not in at_once["model/README.md"]
    different = {"model/README.md", "step_0/README.md", "model/config.json", "last.ckpt", "section.json"}
    if source == "finished":
        assert trained("short_again", extend_from=None) == before
    for table in (tables.GENE_ERRORS, tables.GENE_ERROR_SUMS):
        left, right = (tables.read(table, tmp_path / tag / f"{table.name}.parquet") for tag in ("longer", "at_once"))
        pd.testing.assert_frame_equal(left, right)
        different.add(f"{table.name}.parquet")
    assert longer.keys() == at_once.keys()
    assert {name for name in longer if longer[name] != at_once[name]} <= different


def test_rates_of_an_extended_training_are_those_of_its_new_end(run, monkeypatch):
    cosine = {"learning_rate": 1.0, "warmup_steps": 0, "schedule": "cosine", "final_fraction": 0.0}
    short = run(section(epochs=1, optimiser=cosine))
    rates, step = [], PretrainingModule.optimizer_step

    def spied(self, epoch, batch_index, optimizer, closure):
        rates.append({group["lr"] for group in optimizer.param_groups})
        step(self, epoch, batch_index, optimizer, closure)

    monkeypatch.setattr(PretrainingModule, "optimizer_step", spied)
    longer = run(section(epochs=2, optimiser=cosine, extend_from=str(short)), "longer")
    assert [rate for (rate,) in rates] == pytest.approx((1 + np.cos(np.pi * np.arange(4, 8) / 8)) / 2)
    with pytest.raises(WcedError, match="extend_from: 8 steps are made, and 1 epochs have 4; ask for more"):
        run(section(epochs=1, optimiser=cosine, extend_from=str(longer)), "shorter")


@pytest.mark.parametrize("name", WHOLE)
def test_metrics_of_a_training(whole, name):
    accumulate = section(**WHOLE[name]).checkpoints["m"].accumulate
    metrics = metrics_of(whole / name)
    assert np.isfinite(metrics["value"]).all()
    per_epoch = -(-4 // accumulate)
    validation = metrics[metrics["split"] == "validation"].groupby("metric")["step"].agg(list)
    columns = [head["column"] for head in HEADS]
    # Donors of validation cells that train lacks have no loss.
    assert set(validation.index) >= {"loss", *LOSSES[name], columns[0], f"{columns[0]}_accuracy"}
    assert validation["loss"] == [per_epoch, 2 * per_epoch]
    train_steps = metrics[(metrics["split"] == "train") & (metrics["metric"] == "loss")]["step"].tolist()
    assert train_steps == ([3, 4, 6, 8] if accumulate == 1 else [2, 3, 4])


@pytest.mark.parametrize("name", WHOLE)
def test_gene_errors_of_every_epoch(whole, shards, name):
    errors = errors_of(whole / name)
    assert sorted(set(errors["epoch"])) == [1, 2] and set(errors["checkpoint"]) == {"m"}
    assert set(errors["gene_id"]) <= set(shards.vocabulary.gene_ids)
    assert (errors["n_nonzero"] <= errors["n"]).all()
    last = errors[errors["epoch"] == 2].set_index("gene_id")
    if name == "wced":
        expected = pd.Series(cell_values(shards, "validation").n_g, shards.vocabulary.gene_ids)
        assert (last["n"] == expected[last.index]).all()
        assert len(last) == (expected > 0).sum()


def test_the_folder_of_a_training_can_be_opened(whole, shards):
    for name in WHOLE:
        checkpoint = load(whole / name / "model")
        assert checkpoint.vocabulary == shards.vocabulary and checkpoint.labels == shards.labels
        assert checkpoint.ontology.terms[0] == "CL:0000000"
        heads = {head["column"]: head["classes"] for head in checkpoint.model.config.label_heads}
        assert heads == {
            "cell_type_ontology_term_id": len(checkpoint.ontology.leaves),
            "donor_id": len(shards.labels.classes["donor_id"]),
        }


def test_training_lowers_the_loss(run):
    metrics = metrics_of(run(section("mlm", batch_size=32, epochs=3)))
    validation = metrics[metrics["split"] == "validation"].pivot_table("value", "metric", "epoch")
    for name in ("mlm_detection", "mlm_value", "loss"):
        assert validation.loc[name, 3] < 0.8 * validation.loc[name, 1]


@pytest.mark.parametrize(
    ("cuda", "processor", "expected"),
    [
        (None, {"avx512_bf16": True, "cpu_name": "AMD EPYC"}, "bf16-mixed"),
        (None, {"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, "bf16-mixed"),
        (None, {"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, "32-true"),
        (None, {"cpu_name": "AMD EPYC"}, "32-true"),
        (None, {}, "32-true"),
        (True, {}, "bf16-mixed"),
        (False, {"avx512_bf16": True, "cpu_name": "AMD EPYC"}, "32-true"),
    ],
    ids=["amd", "intel_with_amx", "intel_without_amx", "plain_amd", "unknown_cpu", "gpu_with_bf16", "old_gpu"],
)
def test_precision_follows_the_device(monkeypatch, cuda, processor, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda is not None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: cuda)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    assert precision_of("auto") == expected
    assert precision_of("16-mixed") == "16-mixed"


def test_start_is_the_null_model(shards):
    model, _ = initialised(shards, section(), 0)
    train_cells = shards.take(shards.places("train"))
    expressing = np.bincount(train_cells.gene, minlength=len(shards.vocabulary))
    rate = np.clip(expressing / np.maximum(cell_values(shards, "train").n_g, 1), 1e-4, 1 - 1e-4)
    predicted = torch.sigmoid(model.decoders["wced"].detection.bias.double()).detach().numpy()
    np.testing.assert_allclose(predicted, rate, rtol=1e-4)
    values = model.decoders["wced"].value.bias.detach().numpy()
    assert (values[expressing == 0] == 0).all() and (values[expressing > 0] > 0).all()


def test_a_decoder_of_positions_starts_at_random(shards):
    model, before = initialised(shards, section("mlm"), 0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_classes_of_a_hierarchical_head_are_their_leaves(shards):
    graph, targets = hierarchy(shards, section().checkpoints["m"])
    classes = shards.labels.classes["cell_type_ontology_term_id"]
    mask_cl, residual_c = targets["cell_type_ontology_term_id"]
    assert mask_cl.shape == (len(classes), len(graph.leaves))
    t_cell, cd4 = classes.index("CL:0000084"), classes.index("CL:0000624")
    assert mask_cl[t_cell].sum() > mask_cl[cd4].sum() == 1 and (mask_cl[t_cell] >= mask_cl[cd4]).all()
    assert residual_c[cd4] == -1 and mask_cl[t_cell, residual_c[t_cell]]
    assert graph.terms[graph.leaves[residual_c[t_cell]]] == "CL:0000084"


def test_the_papers_hierarchy_has_no_residual_leaves(shards):
    heads = [head | ({"residual_weight": None} if head["loss"] == "hierarchical" else {}) for head in HEADS]
    graph, targets = hierarchy(shards, section(label_heads=heads).checkpoints["m"])
    named, _ = hierarchy(shards, section().checkpoints["m"])
    assert graph.residuals == () != named.residuals and graph.terms == named.terms
    assert len(named.leaves) == len(graph.leaves) + len(named.residuals)
    assert (targets["cell_type_ontology_term_id"].residual_leaf_c == -1).all()


def test_one_ontology_has_residual_leaves_or_none():
    heads = [{"column": name, "loss": "hierarchical", "residual_weight": w} for name, w in (("a", None), ("b", 0.5))]
    with pytest.raises(ValueError, match="residual_weight is null for one hierarchical head and a number for another"):
        section(label_heads=heads)


def test_a_hierarchical_head_over_no_cell_types_is_refused(run):
    with pytest.raises(WcedError, match="no cell type to cut it to"):
        run(section(label_heads=[{"column": "tissue_ontology_term_id", "loss": "hierarchical"}]))


@pytest.mark.parametrize("loss", ["focal", "hierarchical"])
def test_a_head_without_a_class_is_refused(run, monkeypatch, loss):
    monkeypatch.setattr("wced.shards.reader.Labels", _NoDonors)
    with pytest.raises(WcedError, match="the shards hold no class of donor_id"):
        run(section(label_heads=[{"column": "donor_id", "loss": loss}]))


class _NoDonors(Labels):
    @classmethod
    def read(cls, path):
        labels = Labels.read(path)
        return Labels(labels.classes | {"donor_id": ()}, labels.unknown_in_validation)


def test_a_damaged_shard_is_refused_before_training(made, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(made.shards, folder)
    path = folder / "shard-00001.arrow"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(WcedError, match="its checksum is not the one in the index"):
        pretrain(tmp_path / "m", folder, tmp_path / "state", section(), "m", 0)


def test_a_corpus_without_validation_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(train.ShardSet, "count", lambda self, split: 5 if split == "train" else 0)
    with pytest.raises(WcedError, match=r"no validation cells for 1 device\(s\); change cells\.split"):
        run(section())
    assert not (tmp_path / "m").exists()


def share(**changes):
    """A section that trains on a share of the cells, in epochs of 300 cells."""
    return section(**{"cells": 0.3, "order": {"epoch_cells": 300}, "batch_size": 50, "label_heads": []} | changes)


def test_shares_of_a_corpus_are_trained_on_for_the_same_steps_and_validated_on_the_same_cells(run):
    folder, part = run(share(), "part"), run.facts
    other, whole = run(share(cells=1.0), "whole"), run.facts
    assert 0.2 < part["train_cells"] / whole["train_cells"] < 0.4
    assert part["steps"] == whole["steps"] == 12 and part["validation_cells"] == whole["validation_cells"]
    assert errors_of(folder)["n"].tolist() == errors_of(other)["n"].tolist()
    assert f"{part['train_cells']} training" in (folder / "model" / "README.md").read_text()


def test_a_checkpoint_may_have_its_own_seed_on_the_same_cells(run):
    folder, first = run(share(seed=8), "first"), run.facts
    other, second = run(share(), "second"), run.facts
    assert (first["seed"], second["seed"]) == (8, 3) and first["train_cells"] == second["train_cells"]
    gene = [load(path / "model").model.embedding.gene.weight for path in (folder, other)]
    assert not gene[0].equal(gene[1])


def test_a_share_without_any_cell_is_refused(run):
    with pytest.raises(WcedError, match="no train cells"):
        run(share(cells=1e-9))
