import pandas as pd
import pytest

from wced.corpus.terms import current_term, current_terms, general_tissue, general_tissues
from wced.errors import WcedError


@pytest.mark.parametrize(
    ("text", "field", "term"),
    [
        ("CL:0000084", "cell_type", "CL:0000084"),
        ("T cell", "cell_type", "CL:0000084"),
        ("10x 3' v3", "assay", "EFO:0009922"),
        ("female", "sex", "PATO:0000383"),
        ("normal", "disease", "PATO:0000461"),
        ("CL:0000328", "cell_type", "CL:4023154"),
        ("HANCESTRO:0006,HANCESTRO:0005", "self_reported_ethnicity", "HANCESTRO:0005 || HANCESTRO:0006"),
        ("unknown", "sex", "unknown"),
        ("nan", "cell_type", "unknown"),
    ],
    ids=["id", "name", "assay", "sex", "disease", "deprecated", "several", "unknown", "nan"],
)
def test_current_term(text, field, term):
    assert current_term(text, field) == term


@pytest.mark.parametrize(
    ("text", "field"),
    [("UBERON:0002048", "cell_type"), ("CL:9999999", "cell_type"), ("left thumbcell", "cell_type"), ("T cell", "sex")],
    ids=["other ontology", "no such id", "no such name", "other field"],
)
def test_no_such_term(text, field):
    with pytest.raises(WcedError, match=f"{field}: {text!r} is no term"):
        current_term(text, field)


def test_terms_that_no_ontology_has_are_counted():
    texts = pd.Series(["T cell", "thumb", "toe", "toe", "thumb", "toe"])
    words = r"^cell_type: 'toe' \(3 of 6 cells\) is no term or name of CL, nor are 1 other values$"
    with pytest.raises(WcedError, match=words):
        current_terms(texts, "cell_type")


def test_columns_of_a_field():
    texts = pd.Series(["CL:0000084", "unknown", "B cell"], index=["x", "y", "z"])
    frame = current_terms(texts, "cell_type")
    assert frame["cell_type_ontology_term_id"].tolist() == ["CL:0000084", "unknown", "CL:0000236"]
    assert frame["cell_type"].tolist() == ["T cell", "unknown", "B cell"]
    assert frame.index.tolist() == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("tissue", "general"),
    [
        ("UBERON:0008951", "UBERON:0002048"),
        ("UBERON:0000966", "UBERON:0000970"),
        ("UBERON:0002351", "UBERON:0000948"),
        ("UBERON:0000178", "UBERON:0000178"),
        ("CL:0000084", "CL:0000084"),
        ("unknown", "unknown"),
    ],
    ids=["lung lobe is lung", "retina is eye", "sinoatrial node is heart", "blood", "no organ", "unknown"],
)
def test_general_tissue_is_the_census_one(tissue, general):
    assert general_tissue(tissue) == general


def test_general_tissue_columns():
    frame = general_tissues(pd.Series(["UBERON:0000966", "unknown"]))
    assert frame["tissue_general"].tolist() == ["eye", "unknown"]
