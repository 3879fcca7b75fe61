import pandas as pd
import pytest

from wced.corpus.terms import current_term, current_terms, general_tissue, general_tissues
from wced.errors import WcedError


@pytest.mark.parametrize(
    ("text", "field", "term", "note"),
    [
        ("CL:0000084", "cell_type", "CL:0000084", ""),
        ("T cell", "cell_type", "CL:0000084", ""),
        ("10x 3' v3", "assay", "EFO:0009922", ""),
        ("female", "sex", "PATO:0000383", ""),
        ("normal", "disease", "PATO:0000461", ""),
        ("CL:0000328", "cell_type", "CL:4023154", "deprecated"),
        ("HANCESTRO:0006,HANCESTRO:0005", "self_reported_ethnicity", "HANCESTRO:0005 || HANCESTRO:0006", ""),
        ("unknown", "sex", "unknown", ""),
        ("nan", "cell_type", "unknown", "says that nothing is known"),
        ("CL:0000057 (cell culture)", "tissue", "CL:0000057", ""),
        ("lung (organoid)", "tissue", "UBERON:0002048", ""),
        ("EFO:0010183 (sci-Plex)", "assay", "EFO:0010183", ""),
        ("CVCL_0030", "tissue", "CVCL_0030", ""),
        ("HeLa", "tissue", "CVCL_0030", ""),
        ("http://purl.obolibrary.org/obo/UBERON_0002048", "tissue", "UBERON:0002048", ""),
        ("cl:0000084", "cell_type", "CL:0000084", ""),
        ("AfPO:0000274", "self_reported_ethnicity", "AfPO:0000274", ""),
        ("HANCESTRO:0527", "self_reported_ethnicity", "AfPO:0000274", "deprecated"),
        ("HANCESTRO:0006 || AfPO:0000274", "self_reported_ethnicity", "AfPO:0000274 || HANCESTRO:0006", ""),
        ("HANCESTRO:0006, unknown", "self_reported_ethnicity", "HANCESTRO:0006", ""),
        ("multiethnic", "self_reported_ethnicity", "unknown", "says of no ancestry which"),
        ("MONDO:0005233 || MONDO:0004992", "disease", "MONDO:0004992 || MONDO:0005233", ""),
        ("na", "self_reported_ethnicity", "unknown", "says that nothing is known"),
        ("HsapDv:0000087", "development_stage", "HsapDv:0000258", "deprecated"),
        ("MmusDv:0000110", "development_stage", "MmusDv:0000110", ""),
        ("PATO:0000461", "disease", "PATO:0000461", ""),
        ("CL:0000012", "cell_type", "unknown", "deprecated, and nothing stands in for it"),
        ("CL:0000624 || CL:0000625", "cell_type", "CL:0000791", "several terms, of which a cell has one"),
        ("CL:0000084,CL:0000084", "cell_type", "CL:0000084", ""),
        ("PATO:0000383,PATO:0000384", "sex", "unknown", "several terms, of which a cell has one"),
    ],
)  # fmt: skip
def test_values_of_older_and_newer_schemas(text, field, term, note):
    assert current_term(text, field) == (term, note)


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
    frame, replaced = current_terms(texts, "cell_type")
    assert replaced.empty
    assert frame["cell_type_ontology_term_id"].tolist() == ["CL:0000084", "unknown", "CL:0000236"]
    assert frame["cell_type"].tolist() == ["T cell", "unknown", "B cell"]
    assert frame.index.tolist() == ["x", "y", "z"]


def test_what_was_replaced_is_counted():
    texts = pd.Series(["HsapDv:0000087", "", "HsapDv:0000087", "unknown", "HsapDv:0000258"])
    frame, replaced = current_terms(texts, "development_stage")
    assert frame["development_stage"].tolist() == ["adult stage", "unknown", "adult stage", "unknown", "adult stage"]
    assert replaced[["value", "cells", "term", "note"]].to_numpy().tolist() == [
        ["HsapDv:0000087", 2, "HsapDv:0000258", "deprecated"],
        ["", 1, "unknown", "says that nothing is known"],
    ]


@pytest.mark.parametrize(
    ("tissue", "general"),
    [
        ("UBERON:0008951", "UBERON:0002048"),
        ("UBERON:0000966", "UBERON:0000970"),
        ("UBERON:0002351", "UBERON:0000948"),
        ("UBERON:0000178", "UBERON:0000178"),
        ("CL:0000084", "CL:0000084"),
        ("CVCL_0030", "CVCL_0030"),
        ("unknown", "unknown"),
    ],
    ids=["lung lobe is lung", "retina is eye", "sinoatrial node is heart", "blood", "no organ", "cell line", "unknown"],
)
def test_general_tissue_is_the_census_one(tissue, general):
    assert general_tissue(tissue) == general


def test_general_tissue_columns():
    frame = general_tissues(pd.Series(["UBERON:0000966", "unknown"]))
    assert frame["tissue_general"].tolist() == ["eye", "unknown"]
