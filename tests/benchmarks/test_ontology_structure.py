import numpy as np
import pandas as pd
import pytest

from clouds import embedding
from wced.benchmarks.job import Job
from wced.benchmarks.ontology_structure import METRICS, OntologyStructure, ontorwr, rogi
from wced.benchmarks.ontology_structure.score import score
from wced.ontology import load

TYPES = ["CL:0000084", "CL:0000236", "CL:0000540", "CL:0000235", "CL:0002062"]


def job(labels, seed=0, **section) -> Job:
    rng = np.random.default_rng(seed)
    centre_kd = rng.normal(scale=3, size=(5, 4))
    code_n = np.array([TYPES.index(label) if label in TYPES else 0 for label in labels])
    x_nd = (centre_kd[code_n] + rng.normal(size=(len(labels), 4))).astype(np.float32)
    obs = pd.DataFrame({"cell_type_ontology_term_id": pd.Categorical(labels)}, np.arange(len(labels)).astype(str))
    return Job("r", 0, OntologyStructure(datasets=["d"], **section), embedding(x_nd, obs))


def test_scores_are_those_of_the_labelled_cells():
    labels = TYPES * 15 + ["unknown"] * 3 + ["CELL LINE"]
    whole = job(labels)
    table = score(whole).set_index("metric")
    x_nd, type_n = whole.embedding.X[:75], np.array(labels[:75])
    expected = ontorwr.scores(x_nd, type_n, load(), restart=0.7, min_cells=10, seed=0)
    one_hot = np.eye(5)[np.unique(type_n, return_inverse=True)[1]]
    expected |= rogi.scores(x_nd, {"label": one_hot}, seed=0)
    # Any vectors of the same distances between types give the same roughness.
    profile_kt = ontorwr.profiles(load(), sorted(TYPES), 0.7)
    expected |= rogi.scores(x_nd, {"ontology": profile_kt[np.unique(type_n, return_inverse=True)[1]]}, seed=0)
    for metric in METRICS:
        row, own = table.loc[metric.name], expected[metric.name]
        assert row[["value", "ci_low", "ci_high"]].tolist() == pytest.approx([own.value, own.ci_low, own.ci_high])
        assert row["n"] == 75 and row["reason"] == ""
    assert set(table["split"]) == {"all cells but 3 without a cell type and 1 whose label is not in the Cell Ontology"}


def test_roughness_is_of_a_seeded_part_of_many_cells():
    table = score(job(TYPES * 15, rogi_cells=40)).set_index("metric")
    assert table.loc["rogi_xd_label", "n"] == 40 and table.loc["scgraph_ontorwr", "n"] == 75
    again = score(job(TYPES * 15, rogi_cells=40)).set_index("metric")
    pd.testing.assert_frame_equal(table, again)


def test_one_type_or_none_have_reasons():
    one = score(job(TYPES[:1] * 20)).set_index("metric")["reason"]
    assert one["scgraph_ontorwr"] == "1 cell types have 10 cells or more; 4 are needed"
    assert one["rogi_xd_label"] == one["rogi_xd_ontology"] == "all cells are of one type"
    none = score(job(["unknown"] * 5)).set_index("metric")["reason"]
    assert set(none.index) == {metric.name for metric in METRICS} and (none != "").all()
    assert none["rogi_label"] == "no cell has a Cell Ontology term"
