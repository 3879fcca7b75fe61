import pytest
from pydantic import ValidationError

from wced.config.embedding import Embedding


def test_every_model_is_named_once_and_in_order():
    section = Embedding(
        datasets=[], concat=["a", "b"], untrained="a", untrained_seeds=[7, 8], baselines=["pca", "harmony"],
        readouts={"label": {"checkpoint": "a", "pooling": ["cls:1"]}},
        external={"theirs": {"embeddings": "x/{dataset}.h5ad", "n_params": 1}},
    )  # fmt: skip
    assert section.untrained_models == {"untrained": None, "untrained_7": 7, "untrained_8": 8}
    assert section.models == ["label", "concat", *section.untrained_models, "pca", "harmony", "theirs"]
    assert section.external["theirs"].path("held") == "x/held.h5ad"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"untrained_seeds": [1]}, "untrained_seeds are of the baseline untrained, which is null"),
        ({"external": {"hvg": {"embeddings": "{dataset}", "n_params": 1}}}, "hvg is the name of two models"),
        ({"untrained": "a", "untrained_seeds": [1, 1]}, "untrained_seeds: a seed stands there twice"),
        ({"external": {"a b": {"embeddings": "{dataset}", "n_params": 1}}}, "'a b' is no name of letters"),
        ({"readouts": {"pca": {"checkpoint": "a", "pooling": ["cls"]}}}, "pca is the name of two models"),
        ({"baselines": ["tsne"]}, "Input should be"),
    ],
    ids=["seeds", "external", "seed twice", "name", "readout", "baseline"],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        Embedding(datasets=[], **given)
