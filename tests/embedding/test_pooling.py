import numpy as np
import pandas as pd
import pytest
import torch

from wced.embedding.inference import batches, embed
from wced.embedding.inputs import read_cells
from wced.embedding.pooling import Pooling
from wced.errors import WcedError
from wced.model.backbones import layers_of

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
    np.testing.assert_allclose(joined, np.concatenate(parts, axis=1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("word", ["cls:2", "cls:", "cls:-1", "pooler", "head:donor_id", "Mean", ""])
def test_words_that_the_model_does_not_have_are_refused(checkpoint, word):
    known = "cls, cls:1, mean, head:cell_type_ontology_term_id, head:tissue_ontology_term_id, head:age"
    known += "; cls and mean may end in @1; all may end in -batch"
    with pytest.raises(WcedError, match=f"^pooling: {word} is none of those that this model has: {known}$"):
        Pooling(["cls", word], checkpoint.model)
    with pytest.raises(WcedError, match="no word"):
        Pooling([], checkpoint.model)


def test_the_model_has_a_readout_of_its_own(make):
    assert Pooling(None, make().model).name == "cls"
    assert Pooling(None, make(readout=["mean", "cls:1"]).model).name == "mean+cls:1"


@pytest.mark.parametrize("backbone", ["llama", "bert", "modernbert", "nystromformer"])
@pytest.mark.parametrize("word", ["cls@1", "cls:1@1", "mean@1"])
def test_a_block_before_the_last(make, adata, backbone, word):
    checkpoint = make(num_hidden_layers=3, backbone=backbone)
    pooling = Pooling(word, checkpoint.model)
    assert pooling.width == 8 and pooling.blocks == {1} and pooling.cls_only and pooling.name == word
    cells = read_cells(adata, checkpoint)
    embedding = embed(cells, checkpoint, pooling=pooling, batch_size=3)

    class Stopped(Exception):
        pass

    def stop(layer, inputs):
        raise Stopped(inputs[0])  # the input of the second block is the output of the first one

    layer = layers_of(checkpoint.model.backbone, 3)[1]
    handle = layer.register_forward_pre_hook(stop)
    expected = np.empty((len(cells), 8), np.float32)
    for rows, batch in batches(cells, checkpoint.model, 3):
        with pytest.raises(Stopped) as stopped, torch.inference_mode():
            checkpoint.model.encode(**batch, cls_only=False)
        hidden_nld, genes_n = stopped.value.args[0], batch["length"].tolist()
        for row, states_ld, genes in zip(rows, hidden_nld, genes_n, strict=True):
            read = states_ld[2 : 2 + genes].sum(0) / max(genes, 1) if "mean" in word else states_ld[int(":1" in word)]
            expected[row] = read.numpy()
    np.testing.assert_allclose(embedding, expected, rtol=1e-5, atol=1e-5)
    handle.remove()
    assert not layers_of(checkpoint.model.backbone, 3)[0]._forward_hooks


def test_vectors_centred_in_each_batch(checkpoint, adata):
    cells, words = read_cells(adata, checkpoint), ["cls", "cls:1-batch", "mean@1-batch", "head:age-batch"]
    obs = pd.DataFrame({"batch": pd.Categorical(["a", "b", "a", "b", "c", "a", "a"])}, index=adata.obs_names)
    pooling, plain = (Pooling(w, checkpoint.model) for w in (words, [word.removesuffix("-batch") for word in words]))
    centred = embed(cells, checkpoint, pooling=pooling, batch_size=3, obs=obs)
    expected = embed(cells, checkpoint, pooling=plain, batch_size=3).astype(np.float64)
    for rows in ([0, 2, 5, 6], [1, 3], [4]):
        expected[rows, 8:] -= expected[rows, 8:].mean(axis=0)
    np.testing.assert_allclose(centred, expected, rtol=1e-6, atol=1e-5)
    assert centred.dtype == np.float32 and not centred[4, 8:].any()
    for without in (None, obs.drop(columns="batch")):
        with pytest.raises(WcedError, match=r"^pooling: cls:1-batch needs the batch of each cell, but obs has no"):
            embed(cells, checkpoint, pooling=pooling, batch_size=3, obs=without)


def test_leakage_says_what_no_loss_trained_and_what_knows_batches(make):
    model = make(decoders=["mlm"], losses={"mlm": "mean", "tissue_ontology_term_id": "cls:1"}).model
    seen = "none (0 of 9 cells found in the corpus)"
    for word in ("mean", "cls:1", "cls@1", "mean@1", "head:tissue_ontology_term_id"):
        pooling = Pooling(word, model)
        assert (pooling.untrained, pooling.name, pooling.leakage(seen)) == ([], word, seen)
    pooling = Pooling(["cls", "mean", "head:age"], model)
    assert pooling.name == "cls (untrained)+mean+head:age (untrained)"
    notes = "cls: untrained, no loss reads it; head:age: untrained, no loss reads it; "
    assert pooling.leakage(seen) == notes + seen
    notes = "mean-batch: fitted on these cells and their batches, unlabelled; "
    assert Pooling("mean-batch", model).leakage(seen) == notes + seen
    assert Pooling("cls", make(losses=None).model).untrained == []  # it is not known where its losses read
