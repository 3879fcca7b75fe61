import numpy as np
import pytest
import torch

from wced.embedding.inference import embed
from wced.embedding.inputs import read_cells
from wced.embedding.pooling import Pooling
from wced.errors import WcedError

HIDDEN = torch.arange(2 * 5 * 8).reshape(2, 5, 8) / 7
LENGTH = torch.tensor([3, 1])


@pytest.mark.parametrize("word", ["cls", "cls:0", "cls:1"])
def test_cls_positions(checkpoint, word):
    pooling = Pooling(word, checkpoint.model)
    assert pooling.cls_only and pooling.width == 8 and pooling.name == word
    assert pooling.n_params == checkpoint.model.encoder_parameters
    assert torch.equal(pooling(HIDDEN, LENGTH), HIDDEN[:, int(word[-1] == "1")])


def test_mean_is_over_the_genes_that_are_there(checkpoint):
    pooling = Pooling("mean", checkpoint.model)
    assert not pooling.cls_only and pooling.width == 8
    expected = torch.stack([HIDDEN[0, 2:5].mean(0), HIDDEN[1, 2]])
    torch.testing.assert_close(pooling(HIDDEN, LENGTH), expected)
    assert torch.equal(pooling(HIDDEN, torch.tensor([0, 1]))[0], torch.zeros(8))


def test_the_hidden_layer_of_a_head(checkpoint):
    pooling = Pooling("head:tissue_ontology_term_id", checkpoint.model)  # it reads the second CLS position
    head = checkpoint.model.label_heads[1]
    torch.testing.assert_close(pooling(HIDDEN, LENGTH), torch.nn.functional.gelu(head[0](HIDDEN[:, 1])))
    assert pooling.cls_only and pooling.width == 8
    assert pooling.n_params == checkpoint.model.encoder_parameters + 8 * 8 + 8


def test_several_stand_side_by_side(checkpoint, adata):
    words = ["mean", "cls:1", "head:age", "cls:1"]
    both = Pooling(words, checkpoint.model)
    assert both.name == "mean+cls:1+head:age+cls:1" and both.width == 32 and not both.cls_only
    cells = read_cells(adata, checkpoint)
    joined = embed(cells, checkpoint, pooling=both, batch_size=3)
    parts = [embed(cells, checkpoint, pooling=Pooling(word, checkpoint.model), batch_size=3) for word in words]
    np.testing.assert_allclose(joined, np.concatenate(parts, axis=1), atol=1e-6)


@pytest.mark.parametrize("word", ["cls:2", "cls:", "cls:-1", "pooler", "head:donor_id", "Mean", ""])
def test_words_that_the_model_does_not_have_are_refused(checkpoint, word):
    known = "cls, cls:1, mean, head:cell_type_ontology_term_id, head:tissue_ontology_term_id, head:age"
    with pytest.raises(WcedError, match=f"^pooling: {word} is none of those that this model has: {known}$"):
        Pooling(["cls", word], checkpoint.model)
    with pytest.raises(WcedError, match="no word"):
        Pooling([], checkpoint.model)
