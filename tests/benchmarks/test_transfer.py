from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clouds import clouds
from wced.benchmarks.transfer import CLASSIFIERS, METRICS
from wced.benchmarks.transfer.score import lineages, nearest_types, score
from wced.config.embedding import Baseline, Embedding
from wced.embedding.baselines import Cells, baseline
from wced.embedding.baselines.corpus_pca import Components
from wced.embedding.files import concatenate, read_embedding, write_embedding
from wced.errors import WcedError
from wced.shards.vocabulary import Vocabulary

T, B, NK, MAST = "CL:0000084", "CL:0000236", "CL:0000623", "CL:0000097"
CD4, LYMPHOCYTE = "CL:0000624", "CL:0000542"


KINDS = ("accuracy_exact", "accuracy_coarser", "finer_unverified", "wrong")


def scored(test, train, seed=0):
    return score(SimpleNamespace(run="r", seed=seed, embedding=test, reference=train)).set_index("metric")


def near(labels, seed, **facts):
    """Return clouds so near to each other that some cells are wrong."""
    cells = clouds(labels, ["x"] * len(labels), seed=seed, **facts)
    cells.X[:, 0] /= 3
    return cells


def test_scores_are_those_of_scikit_learn_on_the_shared_types():
    test = near([T, B, NK, T, "unknown", MAST] * 20, 1)
    train = near([T, B, NK, "CL:0000576", "unknown"] * 30, 2, dataset="other")
    labels, types = (cells.obs["cell_type_ontology_term_id"].to_numpy(str) for cells in (train, test))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(train.X[labels != "unknown"], labels[labels != "unknown"])
    shared = np.isin(types, [T, B, NK])
    predicted = model.predict(test.X[shared])
    table = scored(test, train)
    assert table.loc["accuracy_lr", "value"] == pytest.approx((predicted == types[shared]).mean())
    assert table.loc["macro_f1_lr", "value"] == pytest.approx(f1_score(types[shared], predicted, average="macro"))
    assert 0.3 < table.loc["accuracy_lr", "value"] < 1
    row = table.loc["accuracy_lr"]
    assert (row["task"], row["dataset"], row["n"]) == ("transfer", "d", 80)
    left_out = "20 cells without a cell type and, but for lineages, 20 cells of 1 types that it lacks"
    assert row["split"] == f"trained on 120 cells of other; left out: {left_out}"


def test_neighbours_are_those_of_scikit_learn_on_the_embedding_as_it_is():
    test, train = near([T, B, NK] * 20, 1), near([T, B, NK] * 30, 2, dataset="other")
    labels, types = (cells.obs["cell_type_ontology_term_id"].to_numpy(str) for cells in (train, test))
    predicted = KNeighborsClassifier(15).fit(train.X.astype(np.float64), labels).predict(test.X.astype(np.float64))
    table = scored(test, train)
    assert 0.3 < table.loc["accuracy_knn", "value"] < 1
    assert table.loc["accuracy_knn", "value"] == pytest.approx((predicted == types).mean())
    assert table.loc["macro_f1_knn", "value"] == pytest.approx(f1_score(types, predicted, average="macro"))


def test_the_majority_of_15_nearest_training_cells_votes():
    rng = np.random.default_rng(0)
    x_train_nd, x_nd, label_n = rng.normal(size=(80, 3)), rng.normal(size=(40, 3)), rng.choice(["a", "b", "c"], 80)
    distance_nm = ((x_nd[:, None] - x_train_nd[None]) ** 2).sum(axis=2)
    votes = [sorted(label_n[order[:15]].tolist()) for order in np.argsort(distance_nm, axis=1)]
    expected = [max(sorted(set(cell)), key=cell.count) for cell in votes]
    assert nearest_types(x_train_nd, label_n, x_nd).tolist() == expected
    few = nearest_types(x_train_nd[:4], np.array(["a", "b", "b", "b"]), x_nd)
    assert few.tolist() == ["b"] * 40  # all of them vote


def test_lineages_are_of_all_labelled_cells():
    """The training dataset lacks CD4 T cells, whose coarser name it has, and lymphocytes, of which it has kinds."""
    labels = [T] * 10 + [CD4] * 20 + [LYMPHOCYTE] * 30 + [MAST] * 40 + ["unknown"] * 5 + ["CVCL_0030"] * 5
    test, train = clouds(labels, ["x"] * len(labels)), clouds([T, B] * 30, ["x"] * 60, dataset="other")
    test.X[:] = train.X[0]  # all are T cells by their looks
    table = scored(test, train)
    for name in CLASSIFIERS:
        shares = [table.loc[f"{kind}_{name}", "value"] for kind in KINDS]
        assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4]) and sum(shares) == pytest.approx(1)
        row = table.loc[f"accuracy_lineage_known_{name}"]
        assert row["value"] == pytest.approx(0.3) and (row["n"], row["ci_method"]) == (100, "Wilson")
        assert table.loc[f"accuracy_{name}", ["value", "n"]].tolist() == [1, 10]  # of the shared type alone


def test_lineages_are_there_where_no_type_is_shared():
    test, train = near([CD4] * 20, 1), near([T, B] * 20, 2, dataset="other")
    table = scored(test, train)
    assert set(table.loc[table["value"].isna(), "reason"]) == {"no cell is of a type that other has"}
    assert table.loc[[f"{kind}_{name}" for kind in KINDS for name in CLASSIFIERS], "value"].notna().all()


def test_a_prediction_outside_the_cell_ontology_leaves_the_lineages_of_other_cells():
    true_n, label_n = np.array([T, T, "CVCL_0030", B]), np.array([T, "CVCL_0030", T, T])
    shares = lineages(true_n, {"knn": label_n})
    assert (shares["accuracy_exact_knn"].value, shares["accuracy_exact_knn"].n) == (0.5, 2)


def test_a_training_label_outside_the_cell_ontology_leaves_no_lineages():
    test = near([T] * 20, 1)
    test.X[:] = 0
    table = scored(test, clouds(["CVCL_0030"] * 20, ["x"] * 20, dataset="other"))
    assert table.loc["accuracy_exact_knn", "reason"] == "CVCL_0030 is not in the Cell Ontology"


@pytest.mark.parametrize(
    ("labels", "facts", "reason"),
    [
        pytest.param(["unknown"] * 20, {}, "one of the datasets has no labelled cell", id="nothing labelled"),
        pytest.param([T, B] * 10, {"space": "dataset"}, "fitted to each dataset apart", id="no shared dimensions"),
    ],
)
def test_what_cannot_be_computed_is_empty_with_its_reason(labels, facts, reason):
    table = scored(near(labels, 1, **facts), near([T, B] * 20, 2, dataset="other", **facts))
    assert set(table.index) == {metric.name for metric in METRICS}
    assert table["value"].isna().all() and table["reason"].str.contains(reason).all()


@pytest.mark.parametrize(("facts", "words"), [({"model": "n"}, "model n and m"), ({"width": 9}, "width 9 and 4")])
def test_embeddings_that_do_not_fit_are_refused(facts, words):
    with pytest.raises(WcedError, match=f"transfer from other to d: their embeddings are of {words}"):
        scored(near([T, B] * 10, 1), near([T, B] * 10, 2, dataset="other", **facts))


SETTINGS = Embedding(datasets=[], n_top_genes=30, n_components=3, scvi={"epochs": 1})


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    """Embed two datasets by every baseline; return the folder of `<dataset>.<baseline>.h5ad`."""
    folder = tmp_path_factory.mktemp("embedded")
    vocabulary = Vocabulary(tuple(f"ENSG{i}" for i in range(60)), tuple(f"G{i}" for i in range(60)))
    loading_vk = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 3)))[0].astype(np.float32)
    Components(vocabulary, np.zeros(60, np.float32), loading_vk).write(folder / "corpus.npz")
    for seed, dataset in enumerate(["other", "d"]):
        counts_ng = np.random.default_rng(seed).poisson(2, size=(40, 60)).astype(np.float32)
        names = [f"c{i}" for i in range(40)]
        obs = pd.DataFrame({"cell_type_ontology_term_id": [T, B] * 20, "batch": "x"}, index=names)
        adata = AnnData(X=sparse.csr_matrix(counts_ng), obs=obs, var=pd.DataFrame(index=list(vocabulary.gene_ids)))
        for name in get_args(Baseline):
            result = baseline(name)(Cells(adata, SETTINGS, seed=0, corpus=folder / "corpus.npz"))
            write_embedding(
                folder / f"{dataset}.{name}.h5ad", result.embedding_nd, obs, model=name, dataset=dataset, n_params=0,
                leakage=result.leakage or "none", space=result.space,
            )  # fmt: skip
    return folder


@pytest.mark.parametrize("name", get_args(Baseline))
def test_what_is_fitted_to_each_dataset_is_not_carried_over(embeddings, name):
    """Harmony of one batch among them, whose note of leakage is a sentence of its own."""
    table = scored(*(read_embedding(embeddings / f"{dataset}.{name}.h5ad") for dataset in ("d", "other")))
    if name == "corpus_pca":
        assert table["value"].notna().sum() > len(METRICS) / 2
    else:
        assert table["value"].isna().all() and table["reason"].str.contains("fitted to each dataset apart").all()


def test_a_part_that_is_fitted_to_each_dataset_makes_the_whole_so(embeddings):
    for dataset in ("d", "other"):
        parts = [embeddings / f"{dataset}.{name}.h5ad" for name in ("corpus_pca", "pca")]
        concatenate(embeddings / f"{dataset}.both.h5ad", parts, model="both")
        concatenate(embeddings / f"{dataset}.alone.h5ad", parts[:1], model="alone")
    for model, values in {"both": False, "alone": True}.items():
        table = scored(*(read_embedding(embeddings / f"{dataset}.{model}.h5ad") for dataset in ("d", "other")))
        assert table.loc["accuracy_knn", "reason"] == "" if values else table["value"].isna().all()
