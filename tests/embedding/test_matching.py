import pandas as pd
import pytest
from wced.embedding.matching import match_genes, symbols_of

from wced.errors import WcedError
from wced.shards.vocabulary import Vocabulary

IDS = tuple(f"ENSG0000000000{i}" for i in range(6))
VOCABULARY = Vocabulary(IDS, ("A", "B", "C", "SAME", "SAME", ""))


def var(names, **columns):
    return pd.DataFrame(columns, index=pd.Index(names, dtype=object))


@pytest.mark.parametrize(
    ("var", "source", "ids", "by_symbol"),
    [
        (var([IDS[2], "x", IDS[0]]), "var_names", [2, -1, 0], 0),
        (var([f"{IDS[2]}.14", f"{IDS[0]}.1_PAR_Y"]), "var_names", [2, 0], 0),
        (var(["B", "A", "a"]), "var_names", [1, 0, -1], 2),
        (var(["B", IDS[1], IDS[0]]), "var_names", [1, 1, 0], 1),
        (var(["SAME", "", "A"]), "var_names", [-1, -1, 0], 1),
        (var(["A", "B", "C"], gene_ids=["x", f"{IDS[3]}.2", None]), "var['gene_ids']", [-1, 3, -1], 0),
        (var(["A", "B"], symbol=["B", "A"], feature_name=["C", "x"]), "var_names", [0, 1], 2),
        (var(["0", "1"], feature_name=pd.Categorical(["B", "C"])), "var['feature_name']", [1, 2], 2),
        (var(["0", "1"], unusual=["B", "C"], ensembl_id=[None, IDS[1]]), "var['ensembl_id']", [-1, 1], 0),
    ],
    ids=["ids", "versions", "symbols", "mixed", "ambiguous", "ids_before_symbols", "equals", "categorical", "missing"],
)
def test_genes_are_found_where_most_of_them_are(var, source, ids, by_symbol):
    match = match_genes(var, VOCABULARY)
    assert (match.source, match.id_g.tolist(), match.by_symbol) == (source, ids, by_symbol)
    assert match.found == len(set(ids) - {-1})


def test_a_column_that_is_asked_for_is_the_one():
    both = var([IDS[0], IDS[1]], unusual=["C", "x"])
    match = match_genes(both, VOCABULARY, "unusual")
    assert (match.source, match.id_g.tolist()) == ("var['unusual']", [2, -1])
    with pytest.raises(WcedError, match=r"^var: there is no column none; there are unusual$"):
        match_genes(both, VOCABULARY, "none")


def test_no_gene_at_all_is_refused():
    with pytest.raises(WcedError, match=r"^var_names, var\['symbol'\]: none is an Ensembl id or a symbol"):
        match_genes(var(["x", "SAME"], symbol=["y", ""]), VOCABULARY)


def test_symbols_of_several_genes_stand_for_none():
    names = symbols_of(VOCABULARY)
    assert names.ids_of(["A", "SAME", "", "other"]).tolist() == [IDS[0], "", "", ""]
    assert names.ambiguous == {"SAME"}
