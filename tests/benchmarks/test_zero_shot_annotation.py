import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from statsmodels.stats.proportion import proportion_confint

from wced.benchmarks.zero_shot_annotation import score
from wced.errors import WcedError
from wced.ontology import CellOntology, cut

#   r: a (c, d), b (e); d: x
ONTOLOGY = CellOntology(
    version="v0",
    labels={name: name.upper() for name in "rabcdex"},
    parents={"r": (), "a": ("r",), "b": ("r",), "c": ("a",), "d": ("a",), "e": ("b",), "x": ("d",)},
    replacements={"old_c": "c"},
)
CUT = cut(ONTOLOGY, ["c", "d", "e"])
TRUE = ["c", "c", "a", "x", "b", "old_c", "unknown", "CELL LINE"]
PREDICTED = ["c", "d", "c", "d", "c", "c", "c", "c"]
#           exact  no  finer coarser no exact


def embedding(true=TRUE) -> AnnData:
    obs = pd.DataFrame({"cell_type_ontology_term_id": pd.Categorical(true)}, index=[f"c{i}" for i in range(len(true))])
    facts = {"model": "m", "dataset": "d", "n_params": 5, "width": 1, "leakage": "none"}
    return AnnData(X=np.zeros((len(true), 1), np.float32), obs=obs, uns={"wced": facts})


def annotation(predicted=PREDICTED) -> pd.DataFrame:
    cells = [f"c{i}" for i in range(len(predicted))]
    return pd.DataFrame({"cell": cells, "predicted_term": predicted, "probability": 0.5})


def scored(**changes):
    given = {"annotation": annotation(), "cut": CUT, **changes}
    return score(embedding(), run="r", seed=0, ontology=ONTOLOGY, **given).set_index("metric")


@pytest.mark.parametrize(
    ("metric", "hits"),
    [
        ("accuracy_exact", 2),
        ("accuracy_exact_or_descendant", 3),
        ("accuracy_exact_or_ancestor", 3),
        ("accuracy_lineage", 4),
        ("reachable_exact", 3),  # c, c, old_c are leaves of the cut; a, x and b are not
        ("reachable_lineage", 6),
    ],
)
def test_by_hand(metric, hits):
    row = scored().loc[metric]
    assert row["value"] == pytest.approx(hits / 6)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(proportion_confint(hits, 6, method="wilson"))
    assert row["ci_method"] == "Wilson" and row["n"] == 6


def test_a_type_that_no_leaf_is_related_to_is_out_of_reach():
    reach = scored(cut=cut(ONTOLOGY, ["e"]))["value"]
    assert reach["reachable_exact"] == 0
    assert reach["reachable_lineage"] == pytest.approx(1 / 6)  # only b


def test_cells_left_out_are_counted():
    assert set(scored()["split"]) == {
        "all cells but 1 without a cell type and 1 whose label is not in the Cell Ontology"
    }


def test_a_model_without_an_ontology_head_has_rows_with_that_reason():
    table = scored(annotation=None, cut=None)
    assert len(table) == 6 and table["value"].isna().all()
    assert set(table["reason"]) == {"no ontology head"} and set(table["n"]) == {6}


def test_a_dataset_without_cell_ontology_terms_has_rows_with_that_reason():
    table = score(
        embedding(["unknown"] * 3), run="r", seed=0, ontology=ONTOLOGY, annotation=annotation(["c"] * 3), cut=CUT
    )
    assert set(table["reason"]) == {"no cell has a Cell Ontology term"} and set(table["n"]) == {0}


def test_an_annotation_of_other_cells_is_refused():
    with pytest.raises(WcedError, match="its cells are not those of the embedding"):
        scored(annotation=annotation().iloc[::-1])
    with pytest.raises(WcedError, match="nonsense"):
        scored(annotation=annotation(["nonsense"] * 8))
