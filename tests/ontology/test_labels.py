import pytest

from wced.ontology import label_of
from wced.ontology.labels import FILES, covering, current, schema, spelled

LABELS = {
    "CL:0000084": "T cell",
    "UBERON:0002048": "lung",
    "EFO:0009922": "10x 3' v3",
    "MONDO:0005233": "non-small cell lung carcinoma",
    "PATO:0000461": "normal",
    "HsapDv:0000087": "adult stage",
    "CVCL_0030": "HeLa",
    "AfPO:0000274": "Central African",
    "MONDO:0004992 || MONDO:0005233": "cancer || non-small cell lung carcinoma",
} | dict.fromkeys(["MONDO:0004992 || unknown", "unknown", "CL:9999999", "NOSUCH:1"])
SPELLED = {
    "CL_0000084": "CL:0000084",
    "obo:CL_0000084": "CL:0000084",
    "hsapdv:0000087": "HsapDv:0000087",
    "cvcl_0030": "CVCL_0030",
    "T cell": None,
    "NOSUCH:1": None,
}


def test_labels_and_spellings():
    assert {term: label_of(term) for term in LABELS} == LABELS
    assert {text: spelled(text) for text in SPELLED} == SPELLED


@pytest.mark.parametrize(
    ("term", "other"),
    [
        pytest.param("CL:0000084", "CL:0000084", id="current"),
        pytest.param("CL:0000328", "CL:4023154", id="replaced"),
        pytest.param("HsapDv:0000087", "HsapDv:0000258", id="consider one above the other"),
        pytest.param("HsapDv:0000083", "HsapDv:0000261", id="consider one"),
        pytest.param("HsapDv:0000088", "HsapDv:0000226", id="consider several"),
        pytest.param("EFO:0009310", "EFO:0009899", id="assay"),
        pytest.param("HANCESTRO:0527", "AfPO:0000274", id="by another prefix"),
        pytest.param("HANCESTRO:0029", None, id="by no term"),
        pytest.param("CL:0000012", None, id="consider all cells"),
        pytest.param("CL:9999999", None, id="no such"),
    ],
)
def test_current(term, other):
    assert current(term) == other


@pytest.mark.parametrize("ontology", sorted(set(FILES.values()) - {"CVCL"}))
def test_replacements_are_current(ontology):
    deprecated = [term for term, record in schema().ontology(ontology).items() if record["deprecated"]]
    stand_ins = {current(term) for term in deprecated} - {None}
    assert stand_ins and stand_ins == {current(term) for term in stand_ins}


@pytest.mark.parametrize(
    ("terms", "cover"),
    [
        (["CL:0000624", "CL:0000625"], "CL:0000791"),
        (["CL:0000084", "CL:0000624"], "CL:0000084"),
        (["CL:0000084"], "CL:0000084"),
        (["CL:0000084", "UBERON:0002048"], None),
        ([], None),
    ],
)
def test_covering(terms, cover):
    assert covering(terms) == cover
