"""Ontology terms of obs: ids from ids or names, current instead of deprecated ones, and their labels."""

import re
from functools import cache

import numpy as np
import pandas as pd
from cellxgene_ontology_guide.curated_ontology_term_lists import get_curated_ontology_term_list
from cellxgene_ontology_guide.entities import CuratedOntologyTermList
from cellxgene_ontology_guide.ontology_parser import OntologyParser

from wced import tables
from wced.contracts import UNKNOWN, is_unknown
from wced.errors import WcedError
from wced.ontology.labels import covering, current, label_of, spelled

ONTOLOGIES = {
    "assay": ("EFO",),
    "cell_type": ("CL",),
    "development_stage": ("HsapDv", "MmusDv"),
    "disease": ("MONDO", "PATO"),
    "self_reported_ethnicity": ("HANCESTRO", "AfPO"),
    "sex": ("PATO",),
    "tissue": ("UBERON", "CL", "CVCL"),
}
"""Fields of obs that have an ontology, and which; each becomes `FIELD_ontology_term_id` and `FIELD`."""

LISTS = ("disease", "self_reported_ethnicity")
"""Fields of which a cell may have several terms, by CELLxGENE's schema."""

CLARIFIED = r"\s*\((cell culture|organoid)\)"
"""What CELLxGENE's schemas before 5 wrote behind a tissue, and later ones in `tissue_type`."""


@cache
def parser() -> OntologyParser:
    """Return cellxgene-ontology-guide's parser of the newest CELLxGENE schema."""
    return OntologyParser()


def current_term(text: str, field: str) -> tuple[str, str]:
    """Return the ontology id that a value of a field stands for, and why it differs from the value (else empty).

    The value is an id or a name of the field's ontologies, possibly with a clarification in brackets behind it
    (`EFO:0010183 (sci-Plex)`, `lung (organoid)`); several of them with `||` or `,` between; or a word for unknown.
    A deprecated term becomes its replacement (`wced.ontology.labels.current`), or `unknown` if there is none. Several
    are sorted and joined by `||` in `LISTS`. A cell has one value of any other field, so there several become the term
    that covers them all. Raises WcedError if the ontologies have no such term.
    """
    if is_unknown(text):
        return UNKNOWN, "" if text == UNKNOWN else "says that nothing is known"
    if field == "self_reported_ethnicity" and text.strip().lower() == "multiethnic":
        return UNKNOWN, "says of no ancestry which"
    term = _id_of(text.strip(), field)
    if term is not None:
        replacement = current(term)
        if replacement is None or not _is_of(replacement, field):
            return UNKNOWN, "deprecated, and nothing stands in for it"
        return replacement, "" if replacement == term else "deprecated"
    parts = [part.strip() for part in text.split("||" if "||" in text else ",")]
    if len(parts) == 1:
        raise WcedError(f"{field}: {text!r} is no term or name of {' or '.join(ONTOLOGIES[field])}")
    terms, notes = zip(*(current_term(part, field) for part in parts), strict=True)
    known = sorted({single for term in terms for single in term.split(" || ")} - {UNKNOWN})
    notes = list(dict.fromkeys(filter(None, notes)))
    if field in LISTS or len(known) < 2:
        return " || ".join(known) or UNKNOWN, "; ".join(notes)
    cover = None if field == "sex" else covering(known)
    return cover or UNKNOWN, "; ".join(["several terms, of which a cell has one", *notes])


def _id_of(text: str, field: str) -> str | None:
    """Return the id of one id or name of a field's ontologies, None if there is none."""
    term = spelled(re.sub(r"\s*\(.*\)$", "", text))
    if term is not None:
        return term if _is_of(term, field) and label_of(term) is not None else None
    for name in dict.fromkeys((text, re.sub(f"{CLARIFIED}$", "", text))):
        for ontology in ONTOLOGIES[field]:
            if ontology != "AfPO" and (term := parser().get_term_id_by_label(name, ontology)):  # HANCESTRO has AfPO's
                return term
    return None


def _is_of(term: str, field: str) -> bool:
    return re.split("[:_]", term)[0] in ONTOLOGIES[field]


def current_terms(texts: pd.Series, field: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ids and labels of the values of a field, and the values that became another term or unknown.

    The first has the columns `FIELD_ontology_term_id` and `FIELD` (label), a row per value; the second those of
    `wced.tables.SOURCES_TERMS` but the first. Raises WcedError if the ontology lacks terms, naming the one of most
    cells.
    """
    codes, values = pd.factorize(texts)
    rows, foreign = [], []
    for value, cells in zip(values, np.bincount(codes, minlength=len(values)), strict=True):
        try:
            term, note = current_term(value, field)
        except WcedError:
            foreign.append((value, cells))
            continue
        rows.append((field, value, cells, term, label_of(term) or UNKNOWN, note))
    if foreign:
        value, cells = max(foreign, key=lambda item: item[1])
        others = f", nor are {len(foreign) - 1} other values" if len(foreign) > 1 else ""
        raise WcedError(
            f"{field}: {value!r} ({cells} of {len(texts)} cells) is no term or name of "
            f"{' or '.join(ONTOLOGIES[field])}{others}"
        )
    listed = pd.DataFrame(rows, columns=tables.SOURCES_TERMS.names[1:]).astype({"cells": int})
    columns = listed[["term", "label"]].set_axis([f"{field}_ontology_term_id", field], axis=1)
    replaced = listed[listed["note"] != ""].sort_values(["cells", "value"], ascending=[False, True])
    return columns.iloc[codes].set_axis(texts.index), replaced


def general_tissue(term: str) -> str:
    """Return the tissue that the Census generalises a tissue to.

    That is the first of an ordered list of organs and systems that is the term itself or above it, or the term if
    none is (cellxgene_census_builder, tissue_mapper.py).
    """
    if term == UNKNOWN:
        return UNKNOWN
    organs = get_curated_ontology_term_list(CuratedOntologyTermList.TISSUE_GENERAL)
    return next(iter(parser().get_high_level_terms(term, organs)), term)


def general_tissues(terms: pd.Series) -> pd.DataFrame:
    """Return the columns `tissue_general_ontology_term_id` and `tissue_general` (label) of tissue ids."""
    codes, values = pd.factorize(terms)
    general = [(term, label_of(term) or UNKNOWN) for term in map(general_tissue, values)]
    columns = pd.DataFrame(general, columns=["tissue_general_ontology_term_id", "tissue_general"], dtype=object)
    return columns.iloc[codes].set_axis(terms.index)
