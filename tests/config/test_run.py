from pathlib import Path

import pytest
import yaml

from wced.benchmarks.zero_shot_integration import Integration
from wced.config import check, json_schema, read, section
from wced.config.benchmarks import Benchmarks
from wced.config.pretraining import Pretraining
from wced.corpus.datasets import check_run, read_datasets
from wced.errors import WcedError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config():
    """The smallest config."""
    return {
        "run": "small",
        "genes": {"gencode": {"path": "x"}, "hgnc": {"path": "y"}},
        "census": {"datasets": ["a", "b"]},
        "pretraining": {"checkpoints": {"m": {"wced": {}}}},
        "embedding": {"datasets": ["c"]},
        "benchmarks": {
            "zero_shot_integration": {"datasets": ["c"]},
            "czi": {"datasets": []},
            "zero_shot_annotation": {"datasets": []},
        },
    }


def changed(config, key, value):
    """Set a dotted key."""
    *parents, last = key.split(".")
    section = config
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    return config


def test_defaults_are_filled_in(config):
    run = check(config)
    assert run.seed == 0 and run.results == "results"
    assert run.pretraining.checkpoints["m"].optimiser.betas == (0.9, 0.99)
    assert run.models == ["m", "hvg", "pca"]


@pytest.mark.parametrize("name", ["demo", "registry", "paper", "ablation"])
def test_configs_of_the_checkout_are_valid(name):
    run = read(ROOT / f"config/{name}.yaml")
    assert run.run == name
    check_run(run, read_datasets(ROOT / run.sources.table))
    assert run.models[: len(run.pretraining.checkpoints)] == list(run.pretraining.checkpoints)
    assert "pca" in run.models and len(set(run.models)) == len(run.models)


def test_paper_config_is_the_papers():
    """Values of the paper's table 1 and of section 12.5."""
    run = read(ROOT / "config/paper.yaml")
    model = run.pretraining.model
    mlm, wced = (run.pretraining.checkpoints[name] for name in ("mlm_multitask", "wced_multitask"))
    assert (model.hidden_size, model.layers, model.heads, model.intermediate_size) == (384, 12, 12, 1536)
    assert run.census.version == "2025-01-30" and run.cells.split.strategy == "dataset"
    assert wced.input.zeros == "exclude" and wced.input.dropout == 0.2
    assert mlm.input.zeros == "interleave" and mlm.mlm.mask == 0.95
    assert mlm.input.length == wced.input.length == 8192
    assert mlm.label_heads[0].residual_weight is wced.label_heads[0].residual_weight is None


# That every section forbids them is a test of tests/test_documents.py.
@pytest.mark.parametrize("key", ["speed", "genes.gencode.speed", "pretraining.checkpoints.m.wced.speed"])
def test_unknown_keys_are_named(config, key):
    with pytest.raises(WcedError) as refusal:
        check(changed(config, key, 1))
    where = key.rpartition(".")[0] or "top level"
    assert str(refusal.value).startswith(f"config, {where}: ") and "'speed' was unexpected" in str(refusal.value)
    assert "\n" not in str(refusal.value)


# tests/bad_inputs/cases.yaml has further ones.
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", -1, "config, seed: -1 is less than the minimum of 0"),
        ("cells.split.strategy", "tissue", "config, cells.split.strategy: 'tissue' is not one of"),
        ("cells.split.validation_fraction", 1, "config, cells.split.validation_fraction: 1 is greater than or equal"),
        ("shards.batch_cells", 70000, "config, shards.batch_cells: 70000 is greater than the maximum of 65536"),
        ("embedding.datasets", "c", "config, embedding.datasets: 'c' is not of type 'array'"),
        ("pretraining.checkpoints.m.label_heads", [{"column": "x"}], "label_heads.0: 'loss' is a required property"),
        ("pretraining.checkpoints.m.label_heads", [{"column": "age", "loss": "mse"}], "age is not in shards.number_"),
        ("pretraining.checkpoints.m.order", {"columns": ["dataset_id", "age"]}, "order.columns: age is not in shards."),
        ("pretraining.checkpoints.m.order", {"columns": ["donor_id", "donor_id"]}, "order.columns: donor_id is duplic"),
        ("pretraining.checkpoints.m.order", {"batches": "one_dataset", "strategy": "round_robin"}, "not round_robin"),
        ("pretraining.checkpoints.m.order", {"columns": []}, "[] should be non-empty"),
        ("pretraining.model.metadata", ["age"], "pretraining.model.metadata: age is not in shards.label_columns"),
        ("pretraining.checkpoints.m", {"label_heads": [{"column": "donor_id", "loss": "focal"}]}, "none decodes"),
        ("pretraining.checkpoints.m.wced", {"detection_weight": 0, "value_weight": 0}, "wced: all weights are 0"),
        ("pretraining.checkpoints.m.early_stop", {"metric": "auc"}, "early_stop.metric: auc is none of loss, wced_det"),
        ("pretraining.checkpoints.m.extend_from", "./results/small/pretraining/m", "m.extend_from: its own folder"),
        ("pretraining.checkpoints.m.mlm", {"mask": 0.7, "hide_genes": 0.4}, "mask 0.7 + hide_genes 0.4 is not"),
        ("pretraining.checkpoints.m.wced", {"value_scale": "gene_std", "value_loss": "zero_inflated_mse"},
         "m.wced: value_scale: gene_std is the deviation among cells that express a gene, so it goes with value_loss"),
        ("pretraining.checkpoints.m.mlm", {"value_scale": "gene"}, "m.mlm.value_scale: 'gene' is not one of"),
        ("pretraining.model.value_encoder", "table", "input.values: model.value_encoder table needs bins"),
        ("census.uri", "s3://x", "census: give exactly one of datasets, uri and version"),
        ("census.datasets", [], "census: give exactly one of datasets, uri and version"),
        ("embedding.step_0", ["m", "n"], "embedding.step_0: n is not in pretraining.checkpoints"),
        ("embedding.untrained", "n", "embedding.untrained: n is not in pretraining.checkpoints"),
        ("embedding.readouts", {"r": {"checkpoint": "n", "pooling": ["cls"]}}, "embedding.readouts: n is not in pret"),
        ("embedding.readouts", {"r": {"checkpoint": "m", "pooling": ["cls", "mean"]}}, "embedding.readouts.r.pooling: "
         "no loss trains mean; the losses of this checkpoint read cls. Read that, or set allow_untrained: true"),
        ("embedding.readouts", {"r": {"checkpoint": "m", "pooling": ["cls:1"]}}, "cls:1 is none of those that this mo"),
        ("embedding.readouts", {"r": {"checkpoint": "m", "pooling": ["cls@12"]}}, "cls and mean may end in @1 to @11"),
        ("pretraining.checkpoints.m.readout", ["mean-batch"], "checkpoints.m.readout: no loss trains mean-batch"),
        ("pretraining.checkpoints.m.readout", ["head:donor_id"], "head:donor_id is none of those that this model has"),
        ("pretraining.checkpoints.n", {"label_heads": [{"column": "donor_id", "loss": "focal", "weight": 0}]},
         "checkpoints.n.readout: no loss trains cls; the losses of this checkpoint read nothing"),
        ("ablation", {"checkpoints": {"m": {"f": "a"}, "n": {"f": "b"}}, "metrics": {"czi": ["f1"]}}, "ablation.check"),
        ("pretraining.checkpoints.concat", {"mlm": {}}, "concat is the name of a baseline"),
        ("pretraining.checkpoints.a/b", {"mlm": {}}, "pretraining.checkpoints: 'a/b' is no name"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(config, key, value, message):
    with pytest.raises(WcedError) as refusal:
        check(changed(config, key, value))
    assert message in str(refusal.value) and str(refusal.value).startswith("config")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", ["run", "genes", "census", "embedding", "benchmarks"])
def test_required_sections_are_named(config, key):
    del config[key]
    with pytest.raises(WcedError, match=f"^config, top level: '{key}' is a required property$"):
        check(config)


@pytest.mark.parametrize(("text", "message"), [("", "not a YAML mapping"), (None, "no such file")])
def test_files_that_are_no_config_are_refused(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(WcedError) as refusal:
        read(path)
    assert str(refusal.value).startswith(f"{path}: {message}") and "\n" not in str(refusal.value)


def test_a_config_is_read_from_yaml(tmp_path, config):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert read(path) == check(config)


def test_a_section_survives_the_command_line(config):
    pretraining = check(config).pretraining
    assert section(Pretraining, pretraining.model_dump_json()) == pretraining


def test_a_benchmark_without_datasets_or_that_is_null_is_not_run(config):
    config["benchmarks"]["czi"] = None
    assert list(check(config).benchmarks.tasks) == ["zero_shot_integration"]
    config["benchmarks"] = {}
    assert check(config).benchmarks.tasks == {} and check(config).benchmarks.tables == []


def test_the_gene_level_benchmark_has_a_table(config):
    config["benchmarks"]["gene_level"] = config["annotation"] = {}
    assert check(config).benchmarks.tables == ["zero_shot_integration", "gene_level"]


def test_models_of_a_benchmark(config):
    config["pretraining"]["checkpoints"]["n"] = {"mlm": {}}
    config["embedding"] |= {"untrained": "m", "untrained_seeds": [5], "concat": ["m", "n"], "baselines": ["pca"]}
    config["embedding"] |= {"step_0": ["n"], "readouts": {"mean": {"checkpoint": "n", "pooling": ["mean"]}}}
    config["embedding"]["external"] = {"theirs": {"embeddings": "{dataset}.h5ad", "n_params": 1}}
    config["benchmarks"]["finetuned_annotation"] = {"datasets": ["c"]}
    run = check(config)
    every = ["m", "n", "mean", "concat", "n_step_0", "untrained", "untrained_5", "pca", "theirs"]
    assert run.models == run.models_of("zero_shot_integration") == every
    assert run.models_of("finetuned_annotation") == ["m", "n"]
    kinds = ["model", "model", "model", "model", "baseline", "baseline", "baseline", "baseline", "external"]
    assert [run.kind(name) for name in every] == kinds
    assert (run.kind("m_decoder"), run.kind("random")) == ("model", "baseline")


def test_an_untrained_readout_may_be_allowed(config):
    config["pretraining"]["checkpoints"]["n"] = {"mlm": {}, "readout": ["cls"], "allow_untrained": True}
    readout = {"checkpoint": "m", "pooling": ["mean"], "allow_untrained": True}
    config["embedding"]["readouts"] = {"r": readout, "early": {"checkpoint": "m", "pooling": ["mean@3", "cls-batch"]}}
    run = check(config)
    assert run.pretraining.checkpoints["n"].read_from == ["cls"] and "r" in run.models


def test_a_run_without_a_dataset_neither_embeds_nor_scores_it(config):
    config["embedding"] |= {"datasets": ["c", "d"], "min_gene_share": {"c": 0.01, "d": 0.02}}
    config["benchmarks"] = {
        "zero_shot_integration": {"datasets": ["c", "d"]},
        "zero_shot_annotation": {"datasets": ["c"]},
    }
    run = check(config).without(["c"])
    assert run.embedding.datasets == ["d"] and run.embedding.min_gene_share == {"d": 0.02}
    assert {task: section.datasets for task, section in run.benchmarks.tasks.items()} == {
        "zero_shot_integration": ["d"]
    }
    assert check(config).without([]) == check(config)


def test_every_section_of_the_benchmarks_is_a_task():
    kinds = Benchmarks.kinds()
    assert set(kinds) == set(Benchmarks.model_fields) - {"neighbours", "cluster_seeds", "gene_level"}
    assert Benchmarks.kind("zero_shot_integration") is Integration
    with pytest.raises(WcedError, match=f"^tea: no such benchmark; there are {', '.join(kinds)}$"):
        Benchmarks.kind("tea")


def test_names_of_sections_are_unique():
    # Of two with the same name the schema has both with the names of their modules, and config/README.md only one.
    assert [name for name in json_schema()["$defs"] if "__" in name] == []


def test_values_do_not_change_after_reading(config):
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="frozen"):
        check(config).seed = 4


@pytest.mark.parametrize(
    ("written", "path"),
    [("./runs/", "runs"), ("a//b/./c", "a/b/c"), ("my runs", "my runs"), ("/x/", "/x"), ("../Läufe", "../Läufe")],
)
def test_paths_are_normalised(config, written, path):
    config |= {"results": written}
    config["genes"]["hgnc"] = {"path": f"a.txt; b={written}"}
    config["census"] = {"uri": written}
    run = check(config)
    assert (run.results, run.genes.hgnc.files()["b"], run.census.uri) == (path, path, path)
    config["census"] = {"uri": "s3://bucket//a/"}
    assert check(config).census.uri == "s3://bucket//a/"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("~/runs", "'~/runs': only a shell knows ~ as the home folder; write the whole path"),
        ("$SCRATCH/runs", "'$SCRATCH/runs' has $, which is not replaced by anything; write the whole path"),
        ("runs/{user}", "'runs/{user}' has {, which is not replaced by anything; write the whole path"),
        (" ", "a path is empty"),
    ],
    ids=["home", "variable", "braces", "empty"],
)
def test_a_path_that_needs_a_shell_is_refused(config, written, sentence):
    for change in ({"results": written}, {"genes": config["genes"] | {"hgnc": {"path": f"b={written}"}}}):
        with pytest.raises(WcedError) as refusal:
            check(config | change)
        assert sentence in str(refusal.value)


@pytest.mark.parametrize("path", ["./results/small/pretraining/n", "results//small/pretraining/n/"])
def test_the_path_of_a_checkpoint_to_extend_is_that_of_its_rule(config, path):
    """Otherwise the longer training would not wait for it."""
    config["pretraining"]["checkpoints"] |= {"n": {"wced": {}}, "m": {"wced": {}, "extend_from": path}}
    assert check(config).pretraining.checkpoints["m"].extend_from == "results/small/pretraining/n"
