import gzip

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wced.errors import WcedError
from wced.genes.annotation.go import gene_ontology, read_annotation, read_graph

OBO = """format-version: 1.2
data-version: releases/2025-01-01

[Term]
id: GO:0000001
name: root
namespace: x

[Term]
id: GO:0000002
alt_id: GO:0000092
is_a: GO:0000001 ! root

[Term]
id: GO:0000003
is_a: GO:0000002 {source="x"} ! middle
is_a: GO:0000001 ! root

[Term]
id: GO:0000004
relationship: part_of GO:0000002 ! middle
relationship: regulates GO:0000003 ! leaf
is_a: GO:0000001 ! root

[Term]
id: GO:0000005
is_a: GO:0000002 ! middle
is_obsolete: true

[Typedef]
id: part_of
name: part of
is_a: GO:0000002 ! no term
"""


@pytest.fixture
def obo(tmp_path):
    path = tmp_path / "go.obo"
    path.write_text(OBO)
    return path


@pytest.mark.parametrize(
    ("relations", "term", "expected"),
    [
        pytest.param(["is_a"], 2, {2, 3}, id="is_a"),
        pytest.param(["is_a", "part_of"], 2, {2, 3, 4}, id="is_a and part_of"),
        pytest.param(["part_of"], 2, {2, 4}, id="part_of"),
        pytest.param(["is_a"], 1, {1, 2, 3, 4}, id="root, obsolete left out"),
        pytest.param(["is_a"], 3, {3}, id="leaf"),
    ],
)
def test_descendants_by_hand(obo, relations, term, expected):
    graph = read_graph(obo, relations)
    assert graph.version == "releases/2025-01-01"
    assert graph.below(f"GO:{term:07d}") == {f"GO:{n:07d}" for n in expected}


@settings(max_examples=30, deadline=None)
@given(links=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=30))
def test_descendants_are_those_of_networkx(tmp_path_factory, links):
    links = {(max(pair), min(pair)) for pair in links if pair[0] != pair[1]}
    path = tmp_path_factory.mktemp("go") / "go.obo"
    with path.open("w") as file:
        for n in range(12):
            parents = [f"is_a: GO:{p:07d} ! x\n" for c, p in sorted(links) if c == n]
            file.write("".join([f"[Term]\nid: GO:{n:07d}\n", *parents, "\n"]))
    graph = read_graph(path)
    truth = nx.DiGraph([(p, c) for c, p in links])
    truth.add_nodes_from(range(12))
    for n in range(12):
        assert graph.below(f"GO:{n:07d}") == {f"GO:{k:07d}" for k in nx.descendants(truth, n) | {n}}


@pytest.mark.parametrize("term", ["GO:7777777", "GO:0000005", "GO:0000092"], ids=["unknown", "obsolete", "alternative"])
def test_a_rule_needs_a_current_term(obo, term):
    with pytest.raises(WcedError, match=f"releases/2025-01-01 has no term {term}"):
        read_graph(obo).below(term)
    obo.write_text("format-version: 1.2\n")
    with pytest.raises(WcedError, match="holds no terms"):
        read_graph(obo)


def test_genes_of_a_term_have_it_or_one_below(obo):
    graph = read_graph(obo)
    pairs = [("a", 3), ("a", 3), ("b", 92), ("c", 1), ("d", 4), ("e", 5), ("outside", 2)]
    rows = [(gene, f"GO:{term:07d}") for gene, term in pairs]
    ontology = gene_ontology(graph, pd.DataFrame(rows, columns=["gene_id", "term"]), ["e", "d", "c", "b", "a"])
    assert ontology.has("GO:0000002").tolist() == [False, False, False, True, True]
    assert ontology.has("GO:0000001").tolist() == [False, True, True, True, True]
    assert ontology.terms_unknown == 1  # e's obsolete term
    assert len(ontology.gene_p) == 4  # a's pair counts once
    assert ontology.has("GO:0000001").dtype == np.bool_


GAF = (
    "!gaf-version: 2.2\n"
    "UniProtKB\tP1\tAAA\tinvolved_in\tGO:0000003\tPMID:1\tIDA\t\tP\tname\tsyn\tprotein\ttaxon:9606\t20250101\tX\n"
    "UniProtKB\tP2\tBBB\tNOT|involved_in\tGO:0000003\tPMID:1\tIDA\t\tP\tname\tsyn\tprotein\ttaxon:9606\t20250101\tX\n"
    'UniProtKB\tP3\tCCC\tinvolved_in\tGO:0000002\tPMID:1\tIEA\t\tP\tna"me\tsyn\tprotein\ttaxon:9606\t20250101\tX\n'
)


TSV = "gene\tGO\tONTOLOGY\nNA\tGO:0000001\tMF\nNA\tGO:0000001\tBP\nB\tGO:0000002\tMF\n"


@pytest.mark.parametrize(
    ("name", "text", "evidence", "expected"),
    [
        pytest.param("goa.gaf.gz", GAF, [], [["AAA", "GO:0000003"], ["CCC", "GO:0000002"]], id="gaf, all"),
        pytest.param("goa.gaf.gz", GAF, ["IDA", "IMP"], [["AAA", "GO:0000003"]], id="gaf, experiments"),
        pytest.param("a.tsv", TSV, [], [["NA", "GO:0000001"], ["B", "GO:0000002"]], id="tsv, each pair once"),
    ],
)
def test_annotation_is_read(tmp_path, name, text, evidence, expected):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert read_annotation(path, evidence).to_numpy().tolist() == expected


@pytest.mark.parametrize(
    ("name", "text", "evidence", "words"),
    [
        pytest.param("a.tsv", "gene\tGO\nA\tGO:0000001\n", ["IDA"], "states no evidence codes", id="no codes"),
        pytest.param("a.tsv", "symbol\tterm\nA\tGO:0000001\n", [], "cannot be read as annotations", id="columns"),
        pytest.param("a.tsv", "gene\tGO\n", [], "holds no annotation", id="empty"),
        pytest.param("a.gaf", GAF, ["EXP"], "holds no annotation with evidence EXP", id="none of a code"),
        pytest.param("a.gaf.gz", "no gzip", [], "cannot be read as annotations", id="no gzip"),
    ],
)
def test_wrong_annotation_is_refused(tmp_path, name, text, evidence, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(WcedError, match=f"{name}: .*{words}"):
        read_annotation(path, evidence)
