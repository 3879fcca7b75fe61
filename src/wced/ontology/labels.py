"""Readable names of ontology terms."""

from functools import cache


@cache
def label_of(term: str) -> str | None:
    """Return the name of a term of CL, UBERON, EFO, MONDO, PATO, HsapDv or HANCESTRO.

    Parameters
    ----------
    term
        Id such as UBERON:0002048. The first look into an ontology reads it, which takes up to half a second.

    Returns
    -------
    str or None
        The name; None for what is no known term (`unknown` among them).
    """
    from cellxgene_ontology_guide.supported_versions import CXGSchema

    prefix = term.partition(":")[0]
    if prefix not in ("CL", "UBERON", "EFO", "MONDO", "PATO", "HsapDv", "HANCESTRO"):
        return None
    record = CXGSchema().ontology(prefix).get(term)
    return None if record is None else record["label"]
