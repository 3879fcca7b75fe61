"""Readable names of ontology terms, and the current terms that stand in for deprecated ones."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

FILES = {name: name for name in ("CL", "CVCL", "EFO", "HANCESTRO", "HsapDv", "MmusDv", "MONDO", "PATO", "UBERON")}
FILES["AfPO"] = "HANCESTRO"
"""Known prefixes of ids, and which of cellxgene-ontology-guide's ontologies has them."""

_ID = re.compile(r"(?:.*[/.]|obo:)?([A-Za-z]+)[:_](\w+)")


def spelled(text: str) -> str | None:
    """Return an id as CELLxGENE spells it (`CL:0000084`, `CVCL_0030`); None if it is not of a known ontology.

    `cl_0000084`, `obo:CL_0000084` and `http://purl.obolibrary.org/obo/CL_0000084` are understood.
    """
    match = _ID.fullmatch(text)
    prefix = match and {name.lower(): name for name in FILES}.get(match[1].lower())
    return f"{prefix}{'_' if prefix == 'CVCL' else ':'}{match[2]}" if prefix else None


def label_of(term: str) -> str | None:
    """Return the name of a term of one of `FILES`; of several ids, joined by `||`, their names joined alike.

    None for what is no known term (`unknown` among them). The first look into an ontology takes up to a second.

    Examples
    --------
    >>> label_of("UBERON:0002048")
    'lung'
    """
    records = [_record(part) for part in term.split(" || ")]
    return None if None in records else " || ".join(record["label"] for record in records)


@cache
def current(term: str) -> str | None:
    """Return a term, or the current one that replaces it if it is deprecated; None if there is none.

    That is the term of `replaced_by`, or else the one `covering` all terms to `consider`: HsapDv:0000258 for
    HsapDv:0000087, both `adult stage`, where the other term to consider is a part of the former.
    """
    record = _record(term)
    if record is None or not record["deprecated"]:
        return None if record is None else term
    named = [record["replaced_by"]] if "replaced_by" in record else record.get("consider", [])
    return covering(filter(None, (current(other) for other in map(spelled, named) if other not in (None, term))))


def covering(terms: Iterable[str]) -> str | None:
    """Return the most specific term that is, or is above, each of some current terms; None without exactly one.

    The root of an ontology covers no different terms.
    """
    terms = set(terms)
    if len(terms) == 1:
        return terms.pop()
    common = set.intersection(*({term, *_record(term)["ancestors"]} for term in terms)) if terms else set()
    common = {term: set(record["ancestors"]) for term in common if (record := _record(term))}
    lowest = common.keys() - set().union(*common.values())
    return lowest.pop() if len(lowest) == 1 and common[min(lowest)] else None


@cache
def _record(term: str) -> dict[str, Any] | None:
    file = FILES.get(re.split("[:_]", term, maxsplit=1)[0])
    return None if file is None else schema().ontology(file).get(term)


@cache
def schema() -> Any:
    """Return the ontologies of cellxgene-ontology-guide; opened once in a process."""
    from cellxgene_ontology_guide.supported_versions import CXGSchema

    return CXGSchema()
