from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from wced.benchmarks.finetuned_annotation import FinetunedAnnotation
from wced.benchmarks.finetuned_annotation.score import score
from wced.benchmarks.job import Job
from wced.checkpoint import Checkpoint, save
from wced.embedding.files import read_embedding, write_embedding
from wced.errors import WcedError
from wced.finetuning.split import labelled_cells
from wced.model import WcedConfig, WcedModel
from wced.shards.input_genes import InputGenes
from wced.shards.vocabulary import Labels, Vocabulary

G, N = 40, 120
GENES = tuple(f"ENSG{i:02d}" for i in range(G))
TERMS = ("CL:0000236", "CL:0000624", "CL:0000625")
MODES = [
    {"mode": mode, "epochs": 12, "batch_size": 16, "precision": "32-true", "optimiser": {"learning_rate": 0.01}}
    for mode in ("full", "frozen")
]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Three kinds of cells, each with eight genes of its own, in six batches; a small random model and an embedding."""
    folder, rng = tmp_path_factory.mktemp("job"), np.random.default_rng(3)
    kind, batch = np.arange(N) % 3, np.arange(N) // 3 % 6
    rate_ng = np.full((N, G), 0.3)
    for k in range(3):
        rate_ng[kind == k, 8 * k : 8 * k + 8] = 9.0
    cells = ad.AnnData(sparse.csr_matrix(rng.poisson(rate_ng).astype(np.float32)))
    cells.var_names, cells.obs_names = GENES, [f"cell{i}" for i in range(N)]
    cells.obs["cell_type_ontology_term_id"] = np.array(TERMS)[kind]
    cells.obs["batch"] = [f"b{i}" for i in batch]
    # The third type is in test only.
    cells.obs["split"] = np.where((batch == 5) | (kind == 2), "test", np.where(batch == 4, "validation", "train"))
    cells.write_h5ad(folder / "source.h5ad")
    torch.manual_seed(2)
    vocabulary = Vocabulary(GENES, GENES)
    config = WcedConfig(
        vocabulary_size=G, vocabulary_sha256=vocabulary.sha256, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, value_frequencies=4, decoder_width=8, decoders=["wced"],
        label_heads=[], input={"length": 24},
    )  # fmt: skip
    model = WcedModel(config)
    # These cells express the same genes, and differ by values only.
    model.embedding.value.initialise(0.5)
    with torch.no_grad():  # initial weights are so small that cells would hardly differ
        for layer in model.backbone.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.mul_(3)
    (folder / "model").mkdir()
    genes = InputGenes(np.full(len(vocabulary), 0.5))
    save(Checkpoint(model, vocabulary, Labels({}, {}), None, genes), folder / "model")
    x_nd = rng.normal(size=(N, 5)) + kind[:, None] * 0.7
    write_embedding(folder / "e.h5ad", x_nd, cells.obs, model="m", dataset="d", n_params=9, leakage="none")

    def make(**changes):
        section = FinetunedAnnotation(**{"datasets": ["d"], "modes": MODES} | changes)
        embedding, source = read_embedding(folder / "e.h5ad"), folder / "source.h5ad"
        return Job(run="r", seed=1, section=section, embedding=embedding, checkpoint=folder / "model", source=source)

    return make


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return tmp_path_factory.mktemp("figures")


@pytest.fixture(scope="module")
def table(job, figures):
    return score(replace(job(), figures=figures)).set_index("metric")


def test_the_figure_shows_the_scores(table, figures):
    data = pd.read_csv(figures / "finetuned.tsv", sep="\t")
    assert len(data) == 3 * 4  # metrics and methods
    for row in data.itertuples():
        assert row.value == pytest.approx(table.loc[f"{row.metric}_{row.method}", "value"], rel=1e-5)
    assert "m on" in (figures / "finetuned.md").read_text() and (figures / "finetuned.svg").exists()


def test_probes_are_fitted_on_train_and_scored_on_test_cells_only(job, table):
    own = job()
    obs, x_nd = own.embedding.obs, own.embedding.X
    mode = own.section.tuning(own.section.modes[0], "d")
    split_n = labelled_cells(obs, "cell_type_ontology_term_id", np.zeros(N, bool), mode, 1).split_n
    train, test, term = split_n == 0, split_n == 2, obs["cell_type_ontology_term_id"].to_numpy(str)
    assert not set(obs["batch"][train]) & set(obs["batch"][test]) and test.sum() > 10
    scaler = StandardScaler().fit(x_nd[train])
    probe = LogisticRegression(max_iter=2000).fit(scaler.transform(x_nd[train]), term[train])
    expected = f1_score(term[test], probe.predict(scaler.transform(x_nd[test])), average="macro")
    assert 0.3 < expected < 1 and table.loc["macro_f1_probe_lr", "value"] == pytest.approx(expected)
    f1 = table[table.index.str.contains("f1|accuracy")]
    assert set(f1["n"]) == {test.sum()} and (f1["reason"] == "").all()
    assert table["split"].str.startswith("whole batch held out: cell_type_ontology_term_id: ").all()


def test_fine_tuning_learns_what_is_there(table):
    value = table["value"]
    assert value["accuracy_full"] > 0.9
    for mode in ("full", "frozen"):
        for average in ("macro", "weighted"):
            difference = value[f"{average}_f1_{mode}"] - value[f"{average}_f1_probe_sgd"]
            assert value[f"gain_{average}_f1_{mode}"] == pytest.approx(difference)


def test_types_that_train_lacks_count_as_wrong_and_are_scored_apart(job):
    table = score(job(held_out={"by": "column", "column": "split"})).set_index("metric")
    obs = job().embedding.obs
    unseen = int((obs["cell_type_ontology_term_id"] == TERMS[2]).sum())
    seen = int((obs["split"] == "test").sum()) - unseen
    assert table.loc["accuracy_full", "n"] == seen + unseen
    assert table.loc["accuracy_full_seen_types", "n"] == seen
    right = table.loc["accuracy_full_seen_types", "value"] * seen
    assert right > 0.8 * seen and table.loc["accuracy_full", "value"] * (seen + unseen) == pytest.approx(right)
    assert table["split"].str.contains(f"{unseen} test cells of types that train lacks").all()
    assert table.loc["lcad_unseen_types_full", "n"] == unseen and table.loc["lcad_unseen_types_full", "value"] > 0


def test_cells_that_cannot_be_divided_are_rows_with_the_reason(job):
    table = score(job(min_class_size=N)).set_index("metric")
    assert table["value"].isna().all() and table["reason"].str.contains("min_class_size").all()
    assert {"macro_f1_full", "gain_weighted_f1_frozen", "accuracy_probe_sgd"} <= set(table.index)


def test_bad_input_is_refused(job):
    with pytest.raises(WcedError, match="no column donor"):
        score(job(held_out={"by": "group", "column": "donor", "test": 0.2}))
    own = job()
    own.embedding.obs_names = own.embedding.obs_names[::-1]
    with pytest.raises(WcedError, match="not those of the embedding by m"):
        score(own)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param({"modes": [MODES[0], MODES[0]]}, "full is duplicated", id="mode twice"),
        pytest.param({"modes": [MODES[0] | {"min_class_size": 3}]}, "once, for all modes", id="split in a mode"),
        pytest.param({"held_out": {"by": "cell"}}, "no test cells", id="nothing to test"),
        pytest.param({"held_out_of": {"d": {"by": "cell"}}}, "d: there are no test cells", id="of one dataset"),
    ],
)
def test_sections_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(ValidationError, match=words):
        FinetunedAnnotation(**{"datasets": ["d"]} | wrong)


def test_a_section_survives_the_command_line(job):
    section = job(held_out_of={"d": {"by": "cell", "test": 0.3}}).section
    assert FinetunedAnnotation.model_validate_json(section.model_dump_json()) == section
    assert section.tuning(section.modes[0], "d").held_out.test == 0.3
    assert section.tuning(section.modes[1], "other").held_out == section.held_out
