import pytest
from pydantic import ValidationError

from wced.config.embedding import Embedding


def test_models_have_unique_names_in_order():
    section = Embedding(
        datasets=[], concat=["a", "b"], step_0=["b", "a"], untrained="a", untrained_seeds=[7, 8],
        baselines=["pca", "harmony"],
        readouts={"label": {"checkpoint": "a", "pooling": ["cls:1"]}},
        external={"theirs": {"embeddings": "x/{dataset}.h5ad", "n_params": 1}},
    )  # fmt: skip
    assert section.untrained_models == {"untrained": None, "untrained_7": 7, "untrained_8": 8}
    assert section.step_0_models == {"b_step_0": "b", "a_step_0": "a"}
    before = [*section.step_0_models, *section.untrained_models]
    assert section.models == ["label", "concat", *before, "pca", "harmony", "theirs"]
    assert section.external["theirs"].path("held") == "x/held.h5ad"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"untrained_seeds": [1]}, "untrained_seeds are of the baseline untrained, which is null"),
        ({"external": {"hvg": {"embeddings": "{dataset}", "n_params": 1}}}, "hvg is the name of two models"),
        ({"untrained": "a", "untrained_seeds": [1, 1]}, r"untrained_seeds\s+Value error, 1 is duplicated"),
        ({"step_0": ["a", "a"]}, r"step_0\s+Value error, a is duplicated"),
        ({"external": {"a b": {"embeddings": "{dataset}", "n_params": 1}}}, "'a b' is no name of letters"),
        ({"readouts": {"pca": {"checkpoint": "a", "pooling": ["cls"]}}}, "pca is the name of two models"),
        ({"baselines": ["tsne"]}, "Input should be"),
        ({"min_gene_share": {"panel": 0.01}}, "min_gene_share: panel is not in embedding.datasets"),
        ({"min_gene_share": {"panel": 1.5}}, "less than or equal to 1"),
    ],
    ids=["seeds", "external", "seed twice", "step 0 twice", "name", "readout", "baseline", "share of none", "share"],
)
def test_invalid_sections_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        Embedding(datasets=[], **keys)
