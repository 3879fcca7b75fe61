import pandas as pd
import pytest

from wced import genes

NAMES = genes.gene_names(
    pd.DataFrame(
        [
            ("E1", "A", "A", ["OLDA"], ["ALIAS", "SHARED"]),
            ("E2", "B", "NEWB", ["A"], ["SHARED"]),
            ("E3", "TWIN", "TWIN", [], []),
            ("E4", "TWIN", "", [], []),
            ("E5", "PAIR", "", [], []),
            ("E6", "PAIR", "", ["TWICE"], ["OLDA"]),
            ("E7", "C", "C", ["TWICE"], ["PAIR"]),
        ],
        columns=["gene_id", "symbol", "hgnc_symbol", "previous_symbols", "alias_symbols"],
    )
)


@pytest.mark.parametrize(
    ("name", "gene_id"),
    [
        pytest.param("A", "E1", id="current symbol goes before a previous one"),
        pytest.param("B", "E2", id="symbol"),
        pytest.param("NEWB", "E2", id="approved"),
        pytest.param("OLDA", "E1", id="previous goes before alias"),
        pytest.param("ALIAS", "E1", id="alias"),
        pytest.param("SHARED", "", id="ambiguous alias"),
        pytest.param("TWIN", "E3", id="twin settled by HGNC"),
        pytest.param("PAIR", "", id="twin not settled, not even by an alias"),
        pytest.param("TWICE", "", id="ambiguous previous"),
        pytest.param("unheard-of", "", id="unknown"),
    ],
)
def test_name_stands_for(name, gene_id):
    assert NAMES.ids_of([name]).tolist() == [gene_id]


def test_ambiguous_names_are_listed_and_versions_stripped():
    assert NAMES.ambiguous == {"SHARED", "PAIR", "TWICE"}
    names = ["ENSG00000000001", "ENSG00000000001.12", "ENSG00000182378.14_PAR_Y", "AC012.1", "ENSG0001.2"]
    expected = ["ENSG00000000001", "ENSG00000000001", "ENSG00000182378", "AC012.1", "ENSG0001.2"]
    assert genes.without_version(names).tolist() == expected
