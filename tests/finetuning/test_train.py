import json
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from small_model import make_checkpoint
from wced import cli, tables
from wced.checkpoint import load, save
from wced.config.finetuning import Finetuning
from wced.config.readout import cls_word
from wced.embedding.annotation import annotate
from wced.embedding.inputs import read_cells
from wced.embedding.pooling import Pooling
from wced.errors import WcedError
from wced.finetuning.model import Tuning, with_new_head
from wced.finetuning.result import write
from wced.finetuning.train import finetune
from wced.ontology.cell_ontology import load as load_ontology
from wced.ontology.cut import cut
from wced.shards.vocabulary import Labels, Vocabulary

G, N = 40, 48
VOCABULARY = Vocabulary(tuple(f"ENSG{i:02d}" for i in range(G)), tuple(f"G{i}" for i in range(G)))
CD4, CD8, B_CELL, T_CELL = "CL:0000624", "CL:0000625", "CL:0000236", "CL:0000084"
CUT = cut(load_ontology(), (CD4, CD8, B_CELL))
HEADS = [
    {"column": "cell_type_ontology_term_id", "loss": "hierarchical", "classes": len(CUT.leaves)},
    {"column": "donor_id", "loss": "focal", "classes": 3},
]
CLASSES = {"cell_type_ontology_term_id": (B_CELL, CD4, CD8), "donor_id": ("d1", "d2", "d3")}
BY_COLUMN, BY_GROUP = ({"by": by, "column": column} for by, column in (("column", "split"), ("group", "donor")))
MODES = ("full", "frozen", "last_layers", "lora")


def make(**changes):
    classes = CLASSES | {entry["column"]: ("m1", "m2") for entry in changes.get("metadata", ())}
    sizes = {
        "hidden_size": 32, "num_hidden_layers": 3, "intermediate_size": 32, "value_frequencies": 4, "decoder_width": 8,
        "cls_positions": 1, "decoders": ["wced", "mlm"], "label_heads": HEADS, "input": {"length": 24, "dropout": 0.1},
    }  # fmt: skip
    common = {"ontology": CUT, "vocabulary": VOCABULARY, "labels": Labels(classes, {}), "seed": 2, "scale": 1}
    checkpoint = make_checkpoint(**common, **sizes | changes)
    # These cells express the same genes, and differ by values only.
    checkpoint.model.embedding.value.initialise(0.14)
    with torch.no_grad():  # initial weights are so small that cells would hardly differ
        for layer in checkpoint.model.backbone.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.mul_(3)
    return checkpoint


@pytest.fixture(scope="module")
def checkpoint():
    return make()


def make_cells():
    """Return cells of three types, each with eight genes of its own, of six donors; the genes are in another order."""
    rng = np.random.default_rng(3)
    kind = np.arange(N) % 3
    rate_ng = np.full((N, G), 0.1)
    for k in range(3):
        rate_ng[kind == k, 8 * k : 8 * k + 8] = 9.0
    cells = ad.AnnData(sparse.csr_matrix(rng.poisson(rate_ng).astype(np.float32)))
    cells.var_names = VOCABULARY.gene_ids
    cells.obs_names = [f"cell{i}" for i in range(N)]
    cells.obs["kind"] = pd.Categorical(np.array(["b", "cd4", "cd8"])[kind])
    cells.obs["term"] = np.array([B_CELL, CD4, CD8])[kind]
    cells.obs["donor"] = [f"d{i // 3 % 6}" for i in range(N)]
    cells.obs["split"] = np.array(["train", "train", "validation", "test"])[np.arange(N) // 3 % 4]
    return cells[:, rng.permutation(G)].copy()


def section(mode="full", **changes):
    settings = {
        "mode": mode, "last_layers": 1, "lora": {"rank": 8}, "min_class_size": 1, "batch_size": 16, "epochs": 2,
        "optimiser": {"learning_rate": 5e-3}, "precision": "32-true", "progress_every": 3,
    }  # fmt: skip
    return Finetuning.model_validate(settings | changes)


def run(adata, checkpoint, settings, column="kind", seed=1):
    return finetune(read_cells(adata, checkpoint), adata.obs, column, checkpoint, settings, seed=seed)


@pytest.fixture
def adata():
    return make_cells()


@pytest.fixture(scope="module")
def tuned(checkpoint):
    """Each mode's result of two epochs."""
    return {mode: run(make_cells(), checkpoint, section(mode)) for mode in MODES}


def encoder(model):
    return {name: w for name, w in model.state_dict().items() if name.startswith(("embedding.", "backbone."))}


def changed(before, after):
    before, after = encoder(before), encoder(after)
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_learns_a_handful_of_cells(checkpoint, adata, mode):
    settings = section(mode, epochs=25, patience=None, held_out=BY_COLUMN, batch_size=4)
    tuned = run(adata, checkpoint, settings)
    predictions = tuned.predictions
    assert (predictions["label"] == predictions["predicted"]).mean() > 0.85
    held_out = adata.obs[adata.obs["split"] != "train"].sort_values("split", ascending=False, kind="stable")
    assert predictions["cell"].tolist() == held_out.index.tolist()
    assert predictions["split"].tolist() == held_out["split"].tolist()
    assert predictions["label"].tolist() == held_out["kind"].tolist()
    loss = tuned.metrics[(tuned.metrics["split"] == "validation") & (tuned.metrics["metric"] == "loss")]
    assert loss["value"].min() < 0.3 * loss["value"].iloc[0] and len(loss) == 25
    assert tuned.best_epoch == loss["epoch"].iloc[loss["value"].argmin()]
    tables.checked(tuned.metrics, tables.METRICS)


def test_methods_without_a_model_are_compared_with_it(checkpoint, adata, tmp_path):
    tuned = run(adata, checkpoint, section("frozen", held_out=BY_COLUMN))
    assert tuned.best_epoch == 2 and any("may still fall: its best epoch is 2 of 2" in note for note in tuned.notes)
    values = {(row.split, row.metric): row.value for row in tuned.metrics.itertuples()}
    counts_ng = adata.X.toarray()
    log1p_ng = np.log1p(counts_ng / counts_ng.sum(1, keepdims=True) * 1e4)
    train_n = (adata.obs["split"] == "train").to_numpy()
    x_nd = PCA(23, random_state=1).fit(log1p_ng[train_n]).transform(log1p_ng)
    scale = x_nd[train_n].std(0)
    lr = LogisticRegression(max_iter=1000).fit(x_nd[train_n] / scale, adata.obs["kind"][train_n])
    for split in ("validation", "test"):
        split_n = (adata.obs["split"] == split).to_numpy()
        true_n = adata.obs["kind"][split_n]
        simple = {"pca_logistic": lr.predict(x_nd[split_n] / scale), "most_frequent": np.full(split_n.sum(), "b")}
        for method, predicted in simple.items():
            assert values[split, f"kind_{method}_accuracy"] == (predicted == true_n).mean()
            expected = f1_score(true_n, predicted, average="macro")
            assert values[split, f"kind_{method}_macro_f1"] == pytest.approx(expected)
        assert values[split, "kind_most_frequent_accuracy"] < 0.5 < values[split, "kind_pca_logistic_accuracy"]
        (note,) = (note for note in tuned.notes if f"of {split} cells" in note)
        assert f"most frequent class {values[split, 'kind_most_frequent_macro_f1']:.3f} (" in note
    write(tuned, tmp_path / "out", base="0")
    assert all(f"- {note}" in (tmp_path / "out/model/README.md").read_text() for note in tuned.notes)


EXPECTED = {
    "full": lambda name: name not in ("embedding.mask", "embedding.gene_mask", "embedding.zero"),  # none occurs
    "frozen": lambda name: False,
    "last_layers": lambda name: name.startswith("backbone.blocks.2."),
    "lora": lambda name: name.startswith("backbone.blocks.") and "norm" not in name,
}


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_changes_its_own_weights_and_no_others(checkpoint, tuned, mode):
    before, model = make().model.state_dict(), tuned[mode].checkpoint.model
    assert changed(checkpoint.model, model) == set(filter(EXPECTED[mode], encoder(checkpoint.model)))
    assert all(torch.equal(value, before[name]) for name, value in checkpoint.model.state_dict().items())
    head = sum(p.numel() for p in model.label_heads[-1].parameters())
    blocks = checkpoint.model.backbone.blocks
    linear = [m for m in blocks.modules() if isinstance(m, torch.nn.Linear)]
    trained = {
        "full": model.num_parameters(),
        "frozen": head,
        "last_layers": head + sum(p.numel() for p in blocks[-1].parameters()),
        "lora": head + 8 * sum(m.in_features + m.out_features for m in linear),
    }
    assert tuned[mode].trained_parameters == trained[mode]
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("backbone", ["llama", "bert", "modernbert", "nystromformer", "performer"])
def test_adapters_and_last_layers_fit_every_encoder(backbone):
    checkpoint = make(backbone=backbone)
    gene, value, length = torch.arange(12).repeat(3, 1), torch.rand(3, 12) + 0.1, torch.tensor([12, 7, 12])

    def logits(model):
        with torch.no_grad():
            return model.eval()(gene, value, length).label_logits["kind"]

    tuning = Tuning(with_new_head(checkpoint, "kind", 4, None, section("lora"), 5), section("lora"))
    plain = logits(tuning.model)
    assert {name.split(".")[0] for name in tuning.trained} == {"backbone", "label_heads"}
    assert all(".lora_" in name for name in tuning.trained if name.startswith("backbone"))
    for name, parameter in tuning.trained.items():
        torch.nn.init.normal_(parameter, std=0.3) if ".lora_" in name else None
    tuning.keep()
    adapted = logits(tuning.model)
    assert (adapted - plain).abs().max() > 1e-3
    merged = tuning.finish()
    torch.testing.assert_close(logits(merged), adapted, rtol=1e-5, atol=1e-5)
    assert encoder(merged).keys() == encoder(checkpoint.model).keys()

    tuning = Tuning(with_new_head(checkpoint, "kind", 4, None, section(), 5), section("last_layers", last_layers=2))
    layers = {name.partition("layers.")[2] or name.partition("layer.")[2] or name.partition("blocks.")[2]
              for name in tuning.trained if name.startswith("backbone")}  # fmt: skip
    assert {name.partition(".")[0] for name in layers} == {"1", "2"}


def test_the_best_epoch_comes_back(checkpoint, adata):
    adata.obs["kind"] = np.random.default_rng(8).permutation(adata.obs["kind"])  # there is nothing to learn
    settings = section(epochs=30, patience=4, dropout=0.0)
    tuned = run(adata, checkpoint, settings)
    loss = tuned.metrics[(tuned.metrics["split"] == "validation") & (tuned.metrics["metric"] == "loss")]
    assert len(loss) == tuned.best_epoch + 4 < 30
    assert not any("may still fall" in note for note in tuned.notes)
    cells = read_cells(adata[tuned.predictions["cell"]], tuned.checkpoint)
    table = annotate(cells, tuned.predictions["cell"], tuned.checkpoint, column="kind", batch_size=8)
    again = run(adata, checkpoint, settings.model_copy(update={"epochs": tuned.best_epoch}))
    np.testing.assert_allclose(table["probability"], again.predictions["probability"], atol=1e-5)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_seed_decides_the_bytes(checkpoint, adata, mode, tmp_path):
    for tag, seed in (("one", 1), ("two", 1), ("other", 2)):
        write(run(adata, checkpoint, section(mode, balance=0.5), seed=seed), tmp_path / tag, base="0")
    one, two, other = (
        {str(p.relative_to(tmp_path / tag)): p.read_bytes() for p in sorted((tmp_path / tag).rglob("*")) if p.is_file()}
        for tag in ("one", "two", "other")
    )
    assert one == two
    assert {name for name in one if one[name] != other[name]} == {
        "metrics.tsv", "model/README.md", "model/model.safetensors", "predictions.parquet",
    }  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_the_folder_is_an_ordinary_checkpoint(tuned, adata, mode, tmp_path):
    tuned = tuned[mode]
    write(tuned, tmp_path / "out", base="abc")
    loaded = load(tmp_path / "out/model")
    assert (loaded.labels, loaded.ontology) == (tuned.checkpoint.labels, tuned.checkpoint.ontology)
    assert loaded.labels.classes == CLASSES | {"kind": ("b", "cd4", "cd8")}
    predictions = pd.read_parquet(tmp_path / "out/predictions.parquet")
    pd.testing.assert_frame_equal(predictions, tuned.predictions)
    held_out = read_cells(adata[predictions["cell"]], loaded)
    table = annotate(held_out, predictions["cell"], loaded, column="kind", batch_size=16)
    assert table["predicted_term"].tolist() == predictions["predicted"].tolist()
    assert table["probability"].tolist() == predictions["probability"].tolist()
    text = (tmp_path / "out/model/README.md").read_text()
    assert f"mode: {mode};" in text and "SHA-256 abc" in text and tuned.notes[0] in text
    metrics = tables.read(tables.METRICS, tmp_path / "out/metrics.tsv").set_index("metric")["value"]
    assert metrics["kind_predicted_accuracy"] == (predictions["label"] == predictions["predicted"]).mean()


def test_only_a_frozen_encoder_keeps_other_heads_and_decoders(checkpoint, tuned):
    frozen, full = (tuned[mode].checkpoint for mode in ("frozen", "full"))
    columns = [head["column"] for head in frozen.model.config.label_heads]
    assert columns == ["cell_type_ontology_term_id", "donor_id", "kind"] and frozen.ontology == CUT
    assert [head["column"] for head in full.model.config.label_heads] == ["kind"] and full.ontology is None
    assert list(frozen.model.decoders) == ["wced", "mlm"] and list(full.model.decoders) == []
    for before, after in zip(checkpoint.model.label_heads, frozen.model.label_heads, strict=False):
        assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    old, new = checkpoint.model.decoders.state_dict(), frozen.model.decoders.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_a_head_of_the_same_column_is_replaced(checkpoint, adata):
    adata.obs["donor_id"] = adata.obs["donor"]
    tuned = run(adata, checkpoint, section("frozen"), "donor_id").checkpoint
    assert [head["column"] for head in tuned.model.config.label_heads] == ["cell_type_ontology_term_id", "donor_id"]
    assert tuned.labels.classes["donor_id"] == tuple(f"d{i}" for i in range(6))
    assert tuned.model.config.label_heads[-1]["classes"] == 6


@pytest.mark.parametrize(
    ("loss", "residual_weight"),
    [("focal", None), ("hierarchical", None), ("hierarchical", 0.25)],
    ids=["flat", "hierarchical", "residual_leaves"],
)
@pytest.mark.parametrize("mode", ["full", "frozen"])
def test_cell_ontology_ids_are_learned_with_and_without_their_hierarchy(checkpoint, adata, loss, residual_weight, mode):
    adata.obs.loc[adata.obs_names[1:12:6], "term"] = T_CELL  # some CD4 and CD8 T cells are not told apart
    adata.obs.loc[adata.obs_names[2:12:6], "term"] = T_CELL
    settings = section(
        mode, loss=loss, residual_weight=residual_weight, epochs=25, patience=None, held_out=BY_COLUMN, batch_size=4
    )
    tuned = run(adata, checkpoint, settings, "term")
    coarse = loss == "focal" or residual_weight is not None  # whether T cell is a class like others
    specs = {head["column"]: head for head in tuned.checkpoint.model.config.label_heads}
    assert specs["term"]["classes"] == 3 + coarse
    assert ("cell_type_ontology_term_id" in specs) == (mode == "frozen" and loss == "focal")
    certain = tuned.predictions[tuned.predictions["label"] != T_CELL]
    assert (certain["label"] == certain["predicted"]).mean() > 0.9
    assert set(tuned.predictions["predicted"]) <= {B_CELL, CD4, CD8} | ({T_CELL} if coarse else set())


def test_reconstruction_is_learned_beside_the_label(checkpoint, adata):
    tuned = run(adata, checkpoint, section(reconstruction=0.5, dropout=0.3, epochs=8))
    validation = tuned.metrics[tuned.metrics["split"] == "validation"].pivot_table("value", "epoch", "metric")
    weighted = (validation["kind"] + 0.5 * validation["wced_detection"] + 0.5 * validation["wced_value"]) / 2
    np.testing.assert_allclose(validation["loss"], weighted)
    assert validation["wced_value"].iloc[-1] < 0.9 * validation["wced_value"].iloc[0]
    assert list(tuned.checkpoint.model.decoders) == ["wced"]
    assert tuned.checkpoint.model.config.input["dropout"] == 0.1  # what the checkpoint was pretrained with


def test_metadata_of_the_model_are_read(adata):
    checkpoint = make(metadata=[{"column": "batch", "classes": 2}])
    adata.obs["batch"] = np.where(adata.obs["kind"] == "b", "m1", "m2")
    before = encoder(checkpoint.model)["embedding.metadata.0.weight"].clone()
    tuned = run(adata, checkpoint, section())
    rows = (encoder(tuned.checkpoint.model)["embedding.metadata.0.weight"] != before).any(dim=1)
    assert rows.tolist() == [False, True, True]  # unknown does not occur
    with pytest.raises(WcedError, match=r"^batch: metadata that the model reads"):
        run(adata, checkpoint, section(), "batch")


@pytest.mark.parametrize(
    ("spoil", "changes", "column", "message"),
    [
        ({}, {}, "nothing", "obs: there is no column nothing; there are kind, term, donor, split"),
        ({"kind": "a"}, {}, "kind", r"kind: 1 class with 1 labelled cells or more \(min_class_size\); two are needed"),
        ({}, {"min_class_size": 17}, "kind", "kind: no classes with 17 labelled cells or more"),
        (
            {"split": ["holdout"] + ["train"] * (N - 1)}, {"held_out": BY_COLUMN}, "kind",
            "held_out.column: split has 'holdout', which is none of",
        ),
        ({"split": "test"}, {"held_out": BY_COLUMN}, "kind", "held_out: no cell of kind is left to validate on"),
        ({}, {"held_out": {"by": "column", "column": "fold"}}, "kind", "obs: there is no column fold"),
        (
            {"donor": lambda obs: obs["kind"].astype(str) + "_donor"}, {"held_out": BY_GROUP}, "kind",
            "held_out.column: no group of donor can be held out",
        ),
        ({}, {"loss": "hierarchical"}, "kind", "kind: 'b' is not in the Cell Ontology"),
        ({}, {"cls_position": 1}, "kind", r"cls_position 1: the model has 1 CLS position\(s\)"),
        ({}, {"mode": "last_layers", "last_layers": 4}, "kind", "last_layers 4: the encoder has 3 layers"),
        ({}, {"optimiser": {"learning_rate": 1e30}}, "kind", "kind: the validation loss was no number"),
    ],
    ids=[
        "no_column", "one_class", "small_classes", "foreign_word", "no_train", "no_split_column", "groups",
        "no_ontology_ids", "cls_position", "layers", "diverged",
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(checkpoint, adata, spoil, changes, column, message):
    adata.obs = adata.obs.assign(**spoil)
    with pytest.raises(WcedError, match=f"^{message}") as refusal:
        run(adata, checkpoint, section(**changes), column)
    assert "\n" not in str(refusal.value)


def test_values_that_are_no_counts_are_refused(checkpoint, adata):
    adata.X = adata.X.log1p()
    with pytest.raises(WcedError, match=r"^X: the count of gene .* is not a whole number; X holds values that"):
        run(adata, checkpoint, section())


MLM = {"cls_positions": 2, "decoders": ["mlm"], "readout": ["mean"], "label_heads": [HEADS[1] | {"cls_position": 1}]}


@pytest.mark.parametrize(
    ("losses", "mode", "position", "readout"),
    [
        ({"mlm": "mean", "donor_id": "cls:1"}, "full", 1, ["cls:1"]),
        ({"mlm": "mean", "donor_id": "cls:1"}, "frozen", 1, ["mean"]),
        ({"mlm": "mean"}, "lora", 0, ["cls"]),
        (None, "full", 0, ["cls"]),
    ],
    ids=["labels_trained_it", "frozen", "nothing_did", "not_known"],
)
def test_the_head_reads_where_a_loss_trained(losses, mode, position, readout):
    checkpoint = make(**MLM, losses=losses)
    config = with_new_head(checkpoint, "kind", 3, None, section(mode), seed=0).config
    assert config.label_heads[-1]["cls_position"] == position and config.readout == readout
    assert config.losses == (None if losses is None else losses | {"kind": cls_word(position)})


def test_a_frozen_encoder_needs_a_trained_position():
    with pytest.raises(WcedError, match=r"^mode frozen: no loss of the checkpoint trained CLS position 0"):
        with_new_head(make(**MLM, losses={"mlm": "mean"}), "kind", 3, None, section("frozen"), seed=0)


def test_a_frozen_encoder_is_read_without_the_heads_that_go():
    checkpoint = make(readout=["head:cell_type_ontology_term_id", "cls"], losses={"wced": "cls"})
    model = with_new_head(checkpoint, "term", 3, CUT, section("frozen", loss="hierarchical"), seed=0)
    assert model.config.readout == ["cls"] and Pooling(None, model).untrained == []


def test_a_checkpoint_without_a_decoder_of_whole_cells_can_not_reconstruct(adata):
    with pytest.raises(WcedError, match=r"^reconstruction: the checkpoint has no decoder"):
        run(adata, make(decoders=["mlm"]), section(reconstruction=1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "frozen", "reconstruction": 1.0}, "a frozen encoder can not learn"),
        ({"held_out": {"by": "group"}}, "by group wants a column"),
        ({"held_out": {"column": "split"}}, "by cell wants no column"),
        ({"held_out": BY_COLUMN | {"test": 0.1}}, "a split by column has the test cells"),
        ({"held_out": {"validation": 0.5, "test": 0.5}}, "leave no cell for training"),
    ],
    ids=["frozen_reconstruction", "no_group", "cell_column", "column_test", "no_train"],
)
def test_sections_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        section(**changes)


def test_the_command(checkpoint, adata, tmp_path, monkeypatch, capsys):
    (tmp_path / "model").mkdir()
    save(checkpoint, tmp_path / "model")
    adata.layers["counts"], adata.X = adata.X, adata.X.log1p()
    adata.obs["kind"] = adata.obs["kind"].cat.add_categories("unknown")
    adata.obs.loc[adata.obs_names[:2], "kind"] = "unknown"
    adata.write_h5ad(tmp_path / "cells.h5ad")
    settings = section("frozen", held_out={"by": "cell", "test": 0.2}).model_dump_json()
    options = {
        "input": tmp_path / "cells.h5ad", "column": "kind", "checkpoint": tmp_path / "model",
        "output": tmp_path / "out", "section": settings, "layer": "counts", "name": "probe", "seed": 4,
    }  # fmt: skip
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["wced", "finetune", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    output = capsys.readouterr().out
    assert "40 of 40 genes" in output and "2 cells without a label are left out" in output
    record = json.loads((tmp_path / "out.provenance.json").read_text())
    assert record["section"]["finetuning"]["mode"] == "frozen" and record["section"]["layer"] == "counts"
    assert record["trained_parameters"] < record["parameters"] and record["inputs"]["weights"]["sha256"]
    metrics = tables.read(tables.METRICS, tmp_path / "out/metrics.tsv")
    assert set(metrics["split"]) == {"train", "validation", "test"} and set(metrics["checkpoint"]) == {"probe"}
    weights = record["inputs"]["weights"]["sha256"]
    assert weights in (tmp_path / "out/model/README.md").read_text()
    assert set(pd.read_parquet(tmp_path / "out/predictions.parquet")["split"]) == {"validation", "test"}
    assert load(tmp_path / "out/model").model.config.label_heads[-1]["column"] == "kind"
