import pandas as pd
import pytest

from wced.errors import WcedError
from wced.genes.annotation.go import gene_ontology, read_graph
from wced.genes.annotation.table import COLUMNS, families, read_families, rule_text

TERMS = sorted({term for row in read_families()["go"] for term in row})


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp("go") / "go.obo"
    path.write_text("".join(f"[Term]\nid: {term}\n\n" for term in TERMS))
    return read_graph(path)


def families_of(graph, genes, rules=None):
    """Return the family row of genes given as (symbol, terms, superclass)."""
    rules = read_families() if rules is None else rules
    genes = pd.DataFrame(genes, columns=["gene_id", "term", "superclass"], dtype=object)
    pairs = genes.explode("term").dropna().assign(term=lambda rows: "GO:" + rows["term"])
    ontology = gene_ontology(graph, pairs, genes["gene_id"])
    return rules["row"].to_numpy()[families(rules, genes["gene_id"], ontology, genes["superclass"])].tolist()


def test_the_packages_rules_are_the_papers_table():
    rules = read_families()
    assert len(rules) == 37
    assert rules["row"].tolist() == ["1", "2", "3", "4a", "4b", "4c", "4d", *map(str, range(5, 35))]
    assert rules["published_genes"].sum() == 19027


@pytest.mark.parametrize(
    ("symbols", "terms", "superclass", "row"),
    [
        ("MT-ND1", ["0016491"], "", "1"),
        ("MTOR", ["0016301"], "", "14"),
        ("RPL3", ["0003723"], "", "2"),
        ("RPS4Y1 UBA52 FAU", [], "", "2"),
        ("RPS6KA1", ["0016301"], "", "14"),
        ("RPS19BP1", ["0003723"], "", "29"),
        ("MRPL1", [], "", "3"),
        ("B2M HLA-A", ["0042611"], "", "4a"),
        ("HLA-DRA", ["0042611"], "", "4b"),
        ("HLA-G", ["0042611"], "", "4c"),
        ("CD1D", ["0042611"], "", "4d"),
        ("ZNF8", ["0003700"], "2", "5"),
        ("HOXA1", ["0003700"], "3", "6"),
        ("JUN", ["0003700"], "1", "7"),
        ("STAT1", ["0003700"], "6", "8"),
        ("PURA", ["0003700"], "0", "8"),
        ("SKI", ["0003700"], "", "9"),
        ("TUBB", ["0005856", "0003924"], "", "11"),
        ("KIF5B", ["0003774"], "", "11"),
        ("DNAH5", ["0005929", "0003774"], "", "10"),
        ("H2AC1", [], "", "12"),
        ("TGFB1", ["0008083"], "", "18"),
        ("IL2", ["0005125"], "", "18"),
        ("OR1A1", ["0004930"], "", "19"),
        ("SLC2A1", [], "", "22"),
        ("ABCB1", ["0005215", "0016787"], "", "22"),
        ("CD8A", [], "", "23"),
        ("CDK1", ["0016301", "0007049"], "", "14"),
        ("CDH1", ["0007155"], "", "17"),
        ("CDC20", ["0007049"], "", "24"),
        ("ENO9", ["0016829"], "", "33"),
        ("LIG9", ["0016874"], "", "33"),
        ("TPI9", ["0016853"], "", "33"),
        ("FAUX H3-3B ORC1 GENE1", [], "", "34"),
    ],
)
def test_families_by_hand(graph, symbols, terms, superclass, row):
    for symbol in symbols.split():
        assert families_of(graph, [(symbol, terms, superclass)]) == [row]


def test_every_gene_keeps_its_position(graph):
    assert families_of(graph, [("GENE1", [], ""), ("MT-CO1", [], ""), ("X", ["0016301"], "")]) == ["34", "1", "14"]


def write_rules(path, *rows):
    lines = ["# a comment", "\t".join(COLUMNS), *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_partition_of_ones_own(graph, tmp_path):
    path = write_rules(
        tmp_path / "own.tsv",
        ("a", "Kinases of CD genes", "GO:0016301", "CD[0-9]*", "CD9*", "", "", ""),
        ("b", "Rest", "", "*", "", "", "12", "all"),
    )
    rules = read_families(path)
    assert families_of(graph, [("CD2", [], ""), ("CD9", ["0016301"], ""), ("X", ["0016301"], "")], rules) == list("aba")
    assert rule_text(rules) == ["GO:0016301 or CD[0-9]*, not CD9*", "*"]
    assert rules["published_genes"].isna().tolist() == [True, False]


def test_a_gene_without_family_is_an_error(graph, tmp_path):
    rules = read_families(write_rules(tmp_path / "own.tsv", ("a", "A", "", "A*", "", "", "", "")))
    with pytest.raises(WcedError, match=r"2 genes match no row, B1 the first; give a last row with symbol \*"):
        families_of(graph, [("A1", [], ""), ("B1", [], ""), ("B2", [], "")], rules)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param([], "has no rules", id="empty"),
        pytest.param([("1", "A", "", "", "B*", "", "", "")], "row 1 has neither go nor symbol", id="no rule"),
        pytest.param([("1", "A", "16301", "", "", "", "", "")], "row 1: '16301' is no GO id", id="term"),
        pytest.param([("1", "A", "", "*", "", "", "many", "")], "'many' is no whole number", id="count"),
        pytest.param([("1", "A", "", "*", "", "", "", "")] * 2, "row '1' is duplicated", id="twice"),
        pytest.param([("1", "", "", "*", "", "", "", "")], "no row or no family", id="no name"),
    ],
)
def test_wrong_rules_are_refused(tmp_path, rows, words):
    path = write_rules(tmp_path / "own.tsv", *rows)
    with pytest.raises(WcedError, match=f"own.tsv: .*{words}"):
        read_families(path)


@pytest.mark.parametrize(
    ("columns", "words"),
    [(COLUMNS[:-1], "column reading is missing"), ([*COLUMNS, "extra"], "column extra is not known")],
    ids=["missing", "unknown"],
)
def test_wrong_columns_are_refused(tmp_path, columns, words):
    (tmp_path / "own.tsv").write_text("\t".join(columns) + "\n")
    with pytest.raises(WcedError, match=words):
        read_families(tmp_path / "own.tsv")
