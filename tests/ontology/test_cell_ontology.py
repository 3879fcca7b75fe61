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
    below = ontology.descendants("CL:0000084")
    assert "CL:0000625" in below and all("CL:0000084" in ontology.ancestors(term) for term in below)


def test_every_current_term_descends_from_cell(ontology):
    assert ontology.descendants("CL:0000000") == frozenset(ontology.terms)
    assert [term for term in ontology.terms if not ontology.parents[term]] == ["CL:0000000"]


def test_ancestors_from_parents_are_those_the_package_records(ontology):
    from cellxgene_ontology_guide.supported_versions import CXGSchema

    records = CXGSchema().ontology("CL")
    wrong = [term for term in ontology.terms if ontology.ancestors(term) != {term, *records[term]["ancestors"]}]
    assert wrong == []


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


#       r
#      / \
#     a   b       d has the parents a and c, so that its longest path from the root has three links
#     |\  |
#     | c e
#     |/
#     d
UNEVEN = CellOntology(
    version="test",
    labels={name: name for name in "rabcde"},
    parents={"r": (), "a": ("r",), "b": ("r",), "c": ("a",), "d": ("a", "c"), "e": ("b",)},
    replacements={"old": "c"},
)


def test_small_graph_by_hand():
    assert UNEVEN.children == {"r": ("a", "b"), "a": ("c", "d"), "b": ("e",), "c": ("d",), "d": (), "e": ()}
    assert UNEVEN.ancestors("d") == {"r", "a", "c", "d"}
    assert UNEVEN.descendants("a") == {"a", "c", "d"}
    assert UNEVEN.near("c", 1) == {"a", "c", "d"}
    assert UNEVEN.current("old") == "c"
    # Depths are longest paths, and steps up the fewest.
    assert UNEVEN.depths == {"r": 0, "a": 1, "b": 1, "c": 2, "d": 3, "e": 2}
    assert UNEVEN.steps_up("d") == {"d": 0, "a": 1, "c": 1, "r": 2}


@pytest.mark.parametrize("walk", ["ancestors", "descendants", "steps_up"])
def test_unknown_terms_are_named(walk):
    with pytest.raises(WcedError, match="nonsense"):
        getattr(UNEVEN, walk)("nonsense")


def test_depths_and_steps_of_the_real_ontology_are_those_of_networkx(ontology):
    import networkx as nx

    graph = nx.DiGraph((parent, term) for term in ontology.terms for parent in ontology.parents[term])
    generations = {term: depth for depth, terms in enumerate(nx.topological_generations(graph)) for term in terms}
    assert ontology.depths == generations
    for term in ("CL:0000904", "CL:0000583", "CL:0000000"):
        assert ontology.steps_up(term) == nx.single_target_shortest_path_length(graph, term)
