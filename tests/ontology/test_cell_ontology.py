import time

import pytest

from wced.errors import WcedError
from wced.ontology import CellOntology, load


@pytest.fixture(scope="module")
def ontology():
    return load()


def test_loads_quickly():
    load.cache_clear()
    start = time.perf_counter()
    load()
    assert time.perf_counter() - start < 1.5


def test_t_cell_is_a_lymphocyte_and_a_cell(ontology):
    assert ontology.labels["CL:0000084"] == "T cell"
    assert ontology.parents["CL:0000084"] == ("CL:0000542",)
    assert {"CL:0000084", "CL:0000542", "CL:0000000"} <= ontology.ancestors("CL:0000084")


def test_every_current_term_descends_from_cell(ontology):
    assert ontology.descendants("CL:0000000") == frozenset(ontology.terms)
    assert [term for term in ontology.terms if not ontology.parents[term]] == ["CL:0000000"]


def test_ancestors_from_parents_are_those_the_package_records(ontology):
    from cellxgene_ontology_guide.supported_versions import CXGSchema

    records = CXGSchema().ontology("CL")
    wrong = [term for term in ontology.terms if ontology.ancestors(term) != {term, *records[term]["ancestors"]}]
    assert wrong == []


def test_descendants_invert_ancestors(ontology):
    assert "CL:0000625" in ontology.descendants("CL:0000084")
    assert all("CL:0000084" in ontology.ancestors(term) for term in ontology.descendants("CL:0000084"))


def test_replacements_are_current(ontology):
    assert len(ontology.replacements) > 50
    assert set(ontology.replacements.values()) <= set(ontology.labels)
    assert not set(ontology.replacements) & set(ontology.labels)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        pytest.param("CL:0000084", "CL:0000084", id="current"),
        pytest.param("CL:0000003", "CL:0000000", id="obsolete with a replacement"),
        pytest.param("CL:0000012", None, id="obsolete without one"),
        pytest.param("CL:0000009", None, id="replaced by a term of another ontology"),
        pytest.param("unknown", None, id="unknown"),
    ],
)
def test_current(ontology, term, expected):
    assert ontology.current(term) == expected


def test_a_term_that_is_not_there_is_named(ontology):
    with pytest.raises(WcedError, match="CL:9999999"):
        ontology.ancestors("CL:9999999")


def test_small_graph_by_hand():
    diamond = CellOntology(
        version="test",
        labels={"r": "r", "a": "a", "b": "b", "c": "c"},
        parents={"r": (), "a": ("r",), "b": ("r",), "c": ("a", "b")},
        replacements={"old": "c"},
    )
    assert diamond.children == {"r": ("a", "b"), "a": ("c",), "b": ("c",), "c": ()}
    assert diamond.ancestors("c") == {"r", "a", "b", "c"}
    assert diamond.descendants("a") == {"a", "c"}
    assert diamond.current("old") == "c"
