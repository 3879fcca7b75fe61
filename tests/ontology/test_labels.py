import pytest

from wced.ontology import label_of


@pytest.mark.parametrize(
    ("term", "label"),
    [
        ("CL:0000084", "T cell"),
        ("UBERON:0002048", "lung"),
        ("EFO:0009922", "10x 3' v3"),
        ("MONDO:0005233", "non-small cell lung carcinoma"),
        ("PATO:0000461", "normal"),
        ("HsapDv:0000087", "adult stage"),
        ("unknown", None),
        ("CL:9999999", None),
        ("NOSUCH:1", None),
    ],
)
def test_label_of(term, label):
    assert label_of(term) == label
