import pandas as pd
import pytest

from wced import genes


def table(rows):
    columns = ["gene_id", "symbol", "hgnc_symbol", "previous_symbols", "alias_symbols"]
    return pd.DataFrame(rows, columns=columns)


NAMES = genes.gene_names(
    table(
        [
            ("E1", "A", "A", ["OLDA"], ["ALIAS", "SHARED"]),
            ("E2", "B", "NEWB", ["A"], ["SHARED"]),
            ("E3", "TWIN", "TWIN", [], []),
            ("E4", "TWIN", "", [], []),
            ("E5", "PAIR", "", [], []),
            ("E6", "PAIR", "", ["TWICE"], ["OLDA"]),
            ("E7", "C", "C", ["TWICE"], ["PAIR"]),
        ]
    )
)


@pytest.mark.parametrize(
    ("name", "gene_id"),
    [
        ("A", "E1"),
        ("B", "E2"),
        ("NEWB", "E2"),
        ("OLDA", "E1"),
        ("ALIAS", "E1"),
        ("SHARED", ""),
        ("TWIN", "E3"),
        ("PAIR", ""),
        ("TWICE", ""),
        ("unheard-of", ""),
    ],
    ids=[
        "current symbol goes before a previous one",
        "symbol",
        "approved",
        "previous goes before alias",
        "alias",
        "ambiguous alias",
        "twin settled by HGNC",
        "twin not settled, not even by an alias",
        "ambiguous previous",
        "unknown",
    ],
)
def test_name_stands_for(name, gene_id):
    assert NAMES.ids_of([name]).tolist() == [gene_id]


def test_ambiguous_names_are_listed():
    assert NAMES.ambiguous == {"SHARED", "PAIR", "TWICE"}


def test_versions_are_stripped():
    given = ["ENSG00000000001", "ENSG00000000001.12", "ENSG00000182378.14_PAR_Y", "AC012.1", "ENSG0001.2"]
    expected = ["ENSG00000000001", "ENSG00000000001", "ENSG00000182378", "AC012.1", "ENSG0001.2"]
    assert genes.without_version(given).tolist() == expected
