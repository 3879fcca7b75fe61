import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from wced.errors import WcedError
from wced.genes.annotation.transcription_factors import read_jaspar, read_tfclass, superclasses
from wced.genes.names import gene_names

SYMBOLS = ["JUN", "ZNF1", "ZNF2", "HOXA1", "SKI", "MYC", "FOXA1"]
IDS = [f"ENSG{i:011d}" for i in range(1, len(SYMBOLS) + 1)]


@pytest.fixture
def jaspar(tmp_path):
    path = tmp_path / "jaspar.sqlite"
    profiles = [
        (1, "AP1", "9606", ["Basic leucine zipper factors (bZIP)"]),
        (2, "FOXA1(var.2)", "9606", ["Fork head/winged helix factors"]),
        (3, "MYC::JUN", "9606", ["Basic helix-loop-helix factors (bHLH)", "Basic leucine zipper factors (bZIP)"]),
        (4, "SKI", "9606", ["A class of tomorrow"]),
        (5, "Zfp", "10090", ["C2H2 zinc finger factors"]),
    ]
    matrix = pd.DataFrame(profiles, columns=["ID", "NAME", "TAX_ID", "VAL"])
    with closing(sqlite3.connect(path)) as database:
        matrix[["ID", "NAME"]].to_sql("MATRIX", database, index=False)
        matrix[["ID", "TAX_ID"]].to_sql("MATRIX_SPECIES", database, index=False)
        classes = matrix[["ID", "VAL"]].explode("VAL").assign(TAG="class")
        classes.to_sql("MATRIX_ANNOTATION", database, index=False)
    return path


def test_jaspar_has_human_factors_without_dimers(jaspar):
    assert sorted(read_jaspar(jaspar)["name"]) == ["AP1", "FOXA1", "SKI"]


def test_class_goes_before_name_and_a_name_needs_the_term(jaspar):
    texts = ["zinc finger like", "zinc finger protein 1", "zinc finger protein 2", "homeobox A1", "SKI", "x", "x"]
    hgnc = pd.Series(texts, index=IDS)
    is_factor = pd.Series([True, True, False, True, True, True, True], index=IDS)
    table = pd.DataFrame({"gene_id": IDS, "symbol": SYMBOLS, "hgnc_symbol": SYMBOLS, "alias_symbols": [[]] * 7})
    names = gene_names(table.assign(previous_symbols=[["AP1"], *[[]] * 6]))
    superclass = superclasses(read_jaspar(jaspar), names, hgnc, is_factor).set_index("gene_id")["superclass"]
    assert superclass.rename(dict(zip(IDS, SYMBOLS, strict=True))).to_dict() == {
        "JUN": "1",  # by its class under a previous symbol, although its name here says zinc finger
        "FOXA1": "3",
        "ZNF1": "2",
        "HOXA1": "3",
    }


def test_tfclass_gives_the_first_number_and_the_lowest_of_two(tmp_path):
    path = tmp_path / "tfclass.obo"
    path.write_text(
        "[Term]\nid: 2.3\nname: class\n\n[Term]\nid: 2.3.1.0.1\nxref: ENSEMBL:E2 \"x\"\nxref: ENSEMBL:E1 \"x\"\n\n"
        "[Term]\nid: 1.1.1.0.1\nxref: UNIPROT:P1\nxref: ENSEMBL:E1\n"
    )  # fmt: skip
    assert read_tfclass(path).to_numpy().tolist() == [["E1", "1"], ["E2", "2"]]


def test_wrong_files_are_refused(tmp_path):
    path = tmp_path / "x"
    path.write_text("no database, long enough to be read as the header of one" * 9)
    with pytest.raises(WcedError, match="cannot be read as the JASPAR database"):
        read_jaspar(path)
    with pytest.raises(WcedError, match="has no cross-reference to Ensembl"):
        read_tfclass(path)
