"""Ontology terms of obs: ids from ids or names, current instead of deprecated ones, and their labels."""

import re
from functools import cache

import numpy as np
import pandas as pd
from cellxgene_ontology_guide.curated_ontology_term_lists import get_curated_ontology_term_list
from cellxgene_ontology_guide.entities import CuratedOntologyTermList
from cellxgene_ontology_guide.ontology_parser import OntologyParser

from wced.errors import WcedError
from wced.ontology import label_of

UNKNOWN = "unknown"

ONTOLOGIES = {
    "assay": ("EFO",),
    "cell_type": ("CL",),
    "development_stage": ("HsapDv",),
    "disease": ("MONDO", "PATO"),
    "self_reported_ethnicity": ("HANCESTRO",),
    "sex": ("PATO",),
    "tissue": ("UBERON", "CL"),
}
"""Fields of obs that have an ontology, and which; each becomes `FIELD_ontology_term_id` and `FIELD`."""

_SEVERAL = re.compile(r"\s*\|\|\s*|,(?=[A-Z]+:)")


@cache
def parser() -> OntologyParser:
    """Return cellxgene-ontology-guide's parser of the newest CELLxGENE schema."""
    return OntologyParser()


def current_term(text: str, field: str) -> str:
    """Return the ontology id that a value of a field stands for.

    Parameters
    ----------
    text
        An id, a label of the field's ontology, several ids joined by `||` or `,`, or a word for unknown.
    field
        Key of `ONTOLOGIES`.

    Returns
    -------
    str
        The id; its replacement if it is deprecated; `unknown` where nothing is known, or replaces it.

    Raises
    ------
    WcedError
        If the ontology has no such term.
    """
    parts = _SEVERAL.split(text)
    if len(parts) > 1:
        terms = sorted({current_term(part, field) for part in parts})
        return UNKNOWN if UNKNOWN in terms else " || ".join(terms)
    if is_unknown(text):
        return UNKNOWN
    term = text
    if not re.fullmatch(r"[A-Za-z]+:\w+", text):
        term = next(filter(None, (parser().get_term_id_by_label(text, ontology) for ontology in ONTOLOGIES[field])), "")
    if term.partition(":")[0] not in ONTOLOGIES[field] or label_of(term) is None:
        raise WcedError(f"{field}: {text!r} is no term or name of {' or '.join(ONTOLOGIES[field])}")
    while parser().is_term_deprecated(term):
        term = parser().get_term_replacement(term) or UNKNOWN
        if term == UNKNOWN:
            return UNKNOWN
    return term


def is_unknown(text: str) -> bool:
    """Return whether a text says that nothing is known."""
    return text.strip().lower() in ("", "unknown", "nan", "none", "na", "n/a", "<na>")


def current_terms(texts: pd.Series, field: str) -> pd.DataFrame:
    """Return the columns `FIELD_ontology_term_id` and `FIELD` (label) of the values of a field.

    Raises
    ------
    WcedError
        If the ontology lacks terms; the sentence names the one of most cells.
    """
    codes, values = pd.factorize(texts)
    terms, foreign = [], []
    for code, value in enumerate(values):
        try:
            terms.append(current_term(value, field))
        except WcedError:
            foreign.append(code)
    if foreign:
        cells = np.bincount(codes, minlength=len(values))[foreign]
        most = values[foreign[int(np.argmax(cells))]]
        others = f", nor are {len(foreign) - 1} other values" if len(foreign) > 1 else ""
        raise WcedError(
            f"{field}: {most!r} ({cells.max()} of {len(texts)} cells) is no term or name of "
            f"{' or '.join(ONTOLOGIES[field])}{others}"
        )
    columns = {f"{field}_ontology_term_id": terms, field: [_label(term) for term in terms]}
    return pd.DataFrame({name: np.array(column, object)[codes] for name, column in columns.items()}, index=texts.index)


def _label(term: str) -> str:
    return " || ".join(label_of(part) or UNKNOWN for part in term.split(" || "))


def general_tissue(term: str) -> str:
    """Return the tissue that the Census generalises a tissue to.

    The Census takes the first of an ordered list of organs and systems that is the term itself or above it, and
    leaves a term as it is when none is (cellxgene_census_builder, tissue_mapper.py).
    """
    if term == UNKNOWN:
        return UNKNOWN
    listed = get_curated_ontology_term_list(CuratedOntologyTermList.TISSUE_GENERAL)
    return next(iter(parser().get_high_level_terms(term, listed)), term)


def general_tissues(terms: pd.Series) -> pd.DataFrame:
    """Return the columns `tissue_general_ontology_term_id` and `tissue_general` (label) of tissue ids."""
    codes, values = pd.factorize(terms)
    general = [general_tissue(value) for value in values]
    columns = {"tissue_general_ontology_term_id": general, "tissue_general": [_label(term) for term in general]}
    return pd.DataFrame({name: np.array(column, object)[codes] for name, column in columns.items()}, index=terms.index)
