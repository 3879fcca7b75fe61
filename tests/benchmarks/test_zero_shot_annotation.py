import json

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from clouds import embedding
from wced.benchmarks.job import Job
from wced.benchmarks.zero_shot_annotation import METRICS, ZeroShotAnnotation
from wced.benchmarks.zero_shot_annotation import score as module
from wced.benchmarks.zero_shot_annotation.score import score
from wced.errors import WcedError
from wced.ontology import CellOntology, cut

#   r: a (c, d), b (e); d: x
ONTOLOGY = CellOntology(
    version="v0",
    labels={name: name.upper() for name in "rabcdex"},
    parents={"r": (), "a": ("r",), "b": ("r",), "c": ("a",), "d": ("a",), "e": ("b",), "x": ("d",)},
    replacements={"old_c": "c"},
)
CUT = cut(ONTOLOGY, ["c", "d", "e"])  # its leaves
TRUE = ["c", "c", "a", "x", "b", "old_c", "unknown", "CELL LINE"]
PREDICTED = ["c", "d", "c", "d", "c", "c", "c", "c"]
#           exact  no  finer coarser no exact
LEAVES = np.array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.45, 0.2, 0.35], [0.3, 0.5, 0.2], [0.4, 0.05, 0.55],
                   [0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])  # fmt: skip
#   greedy: c, d, c (a has 0.65), d, e, c


@pytest.fixture(autouse=True)
def small_ontology(monkeypatch):
    monkeypatch.setattr(module, "load", lambda: ONTOLOGY)


def annotation(predicted=PREDICTED, leaves=LEAVES) -> pd.DataFrame:
    cells = [f"c{i}" for i in range(len(predicted))]
    frame = pd.DataFrame({"cell": cells, "predicted_term": predicted, "probability": 0.5})
    return frame if leaves is None else frame.assign(leaf_probabilities=list(leaves.astype(np.float32)))


@pytest.fixture
def job(tmp_path):
    def make(true=TRUE, section=None, **changes) -> Job:
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model/ontology.json").write_text(json.dumps(changes.pop("cut", CUT).to_json()))
        names = [f"c{i}" for i in range(len(true))]
        obs = pd.DataFrame({"cell_type_ontology_term_id": pd.Categorical(true)}, index=names)
        files = {"annotation": annotation(), "checkpoint": tmp_path / "model", **changes}
        cells = embedding(np.zeros((len(true), 1), np.float32), obs)
        return Job("r", 0, ZeroShotAnnotation(datasets=["d"], **(section or {})), cells, **files)

    return make


HITS = {
    "accuracy_exact": 2, "accuracy_exact_or_descendant": 3, "accuracy_exact_or_ancestor": 3, "accuracy_lineage": 4,
    "accuracy_coarser": 1,  # d for x
    "finer_unverified": 1,  # c for a
    "wrong": 2, "accuracy_lineage_known": 3, "greedy_exact": 2,
    "greedy_exact_or_descendant": 4,  # e is a kind of b
    "greedy_lineage": 5, "greedy_lineage_known": 3,
    "reachable_exact": 3,  # c, c, old_c are leaves of the cut; a, x and b are not
    "reachable_lineage_known": 4,  # and x, by d
    "reachable_lineage": 6,
}  # fmt: skip


def test_shares_by_hand(job):
    table = score(job()).set_index("metric")
    for metric, hits in HITS.items():
        row, interval = table.loc[metric], proportion_confint(hits, 6, method="wilson")
        assert row["value"] == pytest.approx(hits / 6), metric
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval)
        assert row["ci_method"] == "Wilson" and row["n"] == 6


def test_macro_depths_and_lcad_by_hand(job):
    table = score(job()).set_index("metric")
    assert table.loc["macro_exact", "value"] == pytest.approx((2 / 3 + 0 + 0 + 0) / 4)  # of c, a, x, b
    assert table.loc["macro_exact_or_descendant", "value"] == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    # Common ancestors: c, a, a, d, r, c; truths are 2, 2, 1, 3, 1, 2 deep.
    depths = table.loc[[f"accuracy_depth_{depth}" for depth in (1, 2, 3)], ["value", "n"]]
    assert depths.to_numpy().tolist() == [[pytest.approx(5 / 6), 6], [pytest.approx(3 / 4), 4], [0, 1]]
    assert table.loc["greedy_depth_1", "value"] == 1 and "accuracy_depth_4" not in table.index
    # c–d: 2 links, a–c: 1, x–d: 1, b–c: 3
    assert table.loc["lcad_errors", ["value", "n"]].tolist() == [pytest.approx(7 / 4), 4]
    assert table.loc["lcad", ["value", "n"]].tolist() == [pytest.approx(7 / 6), 6]
    assert table.loc["lcad", "ci_method"] == "percentiles of 1000 bootstraps over cells"


def test_a_type_that_no_leaf_is_related_to_is_out_of_reach(job):
    reach = score(job(cut=cut(ONTOLOGY, ["e"]), annotation=annotation(leaves=None))).set_index("metric")["value"]
    assert reach["reachable_exact"] == 0
    assert reach["reachable_lineage"] == pytest.approx(1 / 6)  # only b
    assert reach["reachable_lineage_known"] == 0  # e is finer than b


def test_an_ancestor_that_tells_nothing_is_wrong(job):
    table = score(job(annotation=annotation(["c", "a", "c", "d", "r", "c", "c", "c"]))).set_index("metric")["value"]
    assert table["accuracy_coarser"] == pytest.approx(1 / 6)  # d for x; a for c is a child of the root
    assert table["accuracy_exact_or_ancestor"] == pytest.approx(5 / 6)


def test_a_type_with_a_residual_leaf_is_reached_exactly(job, tmp_path):
    named = cut(ONTOLOGY, ["a", "c", "d", "e"], residuals=True)  # leaves c, d, e and a's own
    leaves = np.column_stack([LEAVES * 0.4, np.full(8, 0.6)])
    with_residuals = job(cut=named, annotation=annotation(["a"] * 8, leaves), figures=tmp_path / "figures")
    values = score(with_residuals).set_index("metric")["value"]
    assert values["reachable_exact"] == pytest.approx(4 / 6)  # c, c, old_c and a; not b and x
    assert values["accuracy_exact"] == values["greedy_exact"] == pytest.approx(1 / 6)  # greedy ends at a
    assert values["accuracy_exact_or_ancestor"] == pytest.approx(5 / 6)  # a is above c, d and x
    labels = pd.read_csv(tmp_path / "figures/labels.tsv", sep="\t").set_index("label")
    assert labels.loc["a", ["mapping", "most_predicted"]].tolist() == ["a leaf of the model", "A"]
    nodes = pd.read_csv(tmp_path / "figures/label_nodes.tsv", sep="\t").set_index("term")
    assert nodes["leaf"].to_dict()["a"] and not nodes["leaf"].to_dict()["r"]


def test_cells_left_out_are_counted_and_their_labels_named(job):
    assert set(score(job())["split"]) == {
        "all cells but 1 without a cell type and 1 whose label is not in the Cell Ontology (CELL LINE: 1)"
    }


def test_every_metric_of_the_task_has_a_row(job):
    whole = set(score(job())["metric"])
    assert {metric.name for metric in METRICS} < whole
    for changed in ({"annotation": None, "checkpoint": None}, {"annotation": annotation(leaves=None)}):
        assert set(score(job(**changed))["metric"]) == whole


def test_without_an_ontology_head_or_terms_there_are_rows_with_that_reason(job, tmp_path):
    table = score(job(annotation=None, checkpoint=None))
    assert table["value"].isna().all()
    assert set(table["reason"]) == {"no ontology head"} and set(table["n"]) == {6}
    table = score(job(["unknown"] * 8, figures=tmp_path / "figures"))
    assert set(table["reason"]) == {"no cell has a Cell Ontology term"} and set(table["n"]) == {0}
    assert not (tmp_path / "figures").exists()


def test_an_annotation_without_probabilities_has_no_greedy_decoding(job):
    table = score(job(annotation=annotation(leaves=None))).set_index("metric")
    greedy = [metric for metric in table.index if metric.startswith("greedy")]
    assert greedy and all("no leaf probabilities" in reason for reason in table.loc[greedy, "reason"])
    assert (table.drop(index=greedy)["reason"] == "").all()


def test_what_does_not_fit_is_refused(job):
    with pytest.raises(WcedError, match="its cells are not those of the embedding"):
        score(job(annotation=annotation().iloc[::-1]))
    with pytest.raises(WcedError, match="nonsense"):
        score(job(annotation=annotation(["nonsense"] * 8)))
    later = CellOntology("v1", {"r": "R", "z": "Z"}, {"r": (), "z": ("r",)}, {})
    with pytest.raises(WcedError, match=r"ontology.json: z is not in the Cell Ontology v0$"):
        score(job(cut=cut(later, ["z"])))
    with pytest.raises(WcedError, match=r"^annotation of d by m: probabilities of 2 leaves, but .*json has 3$"):
        score(job(annotation=annotation(leaves=LEAVES[:, :2])))


def test_figures_and_the_numbers_behind_them(job, tmp_path):
    folder = tmp_path / "figures"
    score(job(figures=folder, section={"graph_min_probability": 0.2, "flow_labels": 2, "graph_label": {"d": "old_c"}}))
    names = {"label_flow", "labels", "depths", "label_nodes", "greedy_descent"}
    files = {f"{name}.{end}" for name in names for end in ("svg", "pdf", "tsv", "md")}
    assert {path.name for path in folder.iterdir()} == files
    read = {name: pd.read_csv(folder / f"{name}.tsv", sep="\t", keep_default_na=False) for name in names}
    flow = read["label_flow"].set_index(["source", "target", "kind"])["cells"].to_dict()
    # Of the true labels c (3 cells) and a are shown, of the predicted ones both.
    assert flow == {
        ("C", "C", "exact"): 2, ("C", "D", "miss"): 1, ("A", "C", "descendant"): 1,
        ("other labels", "C", "other"): 1, ("other labels", "D", "other"): 1,
    }  # fmt: skip
    nodes = read["label_nodes"].set_index("term")
    # Means over the three cells of c: of c 0.6, d 1/3, e 1/15 (left out, as is b).
    assert nodes["probability"].to_dict() == {"r": 1, "a": pytest.approx(14 / 15), "c": 0.6, "d": pytest.approx(1 / 3)}
    assert nodes["kind"].to_dict() == {"r": "ancestor", "a": "ancestor", "c": "exact", "d": "miss"}
    assert nodes["leaf"].to_dict() == {"r": False, "a": False, "c": True, "d": True}
    descent = read["greedy_descent"].set_index(["step", "source", "target", "kind"])["cells"].to_dict()
    assert descent == {
        (0, "R", "A", "exact"): 5, (0, "R", "A", "other"): 2, (0, "R", "B", "exact"): 1,
        (1, "A", "C", "exact"): 3, (1, "A", "C", "other"): 2, (1, "A", "D", "exact"): 1, (1, "A", "D", "miss"): 1,
        (1, "B", "E", "exact"): 1,
    }  # fmt: skip
    labels = read["labels"].set_index("label")
    assert labels["mapping"].to_dict() == {
        "c": "a leaf of the model", "old_c": "a leaf of the model",
        "a": "above leaves of the model: finer labels only", "b": "above leaves of the model: finer labels only",
        "x": "below a leaf of the model: coarser labels only",
        "unknown": "no label", "CELL LINE": "not in the Cell Ontology",
    }  # fmt: skip
    assert labels.loc["c", ["cells", "exact", "miss", "most_predicted"]].tolist() == [2, "0.5", "0.5", "C"]
    assert "CELL LINE (1: not in the Cell Ontology), unknown (1: no label)" in (folder / "labels.md").read_text()


def test_the_same_figures_have_the_same_bytes(job, tmp_path):
    for name in ("one", "two"):
        score(job(figures=tmp_path / name))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_nodes_of_few_cells_are_pooled(job, tmp_path):
    score(job(figures=tmp_path / "figures", section={"descent_min_share": 0.2}))
    descent = pd.read_csv(tmp_path / "figures/greedy_descent.tsv", sep="\t")
    pooled = descent[descent["target"] == "other labels"]
    rows = pooled[["step", "source", "cells", "kind"]].to_numpy().tolist()
    assert rows == [[0, "R", 1, "other"], [1, "other labels", 1, "other"]]


def test_a_label_to_plot_that_no_cell_has_is_refused(job, tmp_path):
    with pytest.raises(WcedError, match=r"^graph_label: no cell of d is labelled e$"):
        score(job(figures=tmp_path / "figures", section={"graph_label": {"d": "e"}}))
