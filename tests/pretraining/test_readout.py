"""Which hidden states losses train: a section's `losses` against the gradients of its training."""

from itertools import product
from types import SimpleNamespace

import pytest
import torch

from wced.config.model import Model
from wced.config.pretraining import Checkpoint
from wced.config.readout import parse
from wced.embedding.pooling import Pooling
from wced.model.backbones import layers_of
from wced.model.configuration import BACKBONES
from wced.pretraining.build import build_model, encoding_of, hierarchy, losses_of
from wced.pretraining.gene_statistics import cell_values
from wced.pretraining.module import PretrainingModule
from wced.shards.batches import BatchDataset, BatchLoader
from wced.shards.reader import ShardSet

CLS, LAYERS, EPOCHS = 3, 3, 8
TYPE = {"column": "cell_type_ontology_term_id", "loss": "hierarchical"}
DONOR = {"column": "donor_id", "loss": "focal"}
DECODED = {
    "none": {},
    "wced": {"wced": {}},
    "mlm": {"mlm": {}},
    "hidden_genes": {"mlm": {"mask": 0.0, "hide_genes": 1.0}},
    "genes_without_weight": {"mlm": {"mask": 0.5, "hide_genes": 0.5, "gene_weight": 0.0}},
    "both": {"wced": {"schedule": {"ramp": 2.0}}, "mlm": {}},
    "mlm_never": {"wced": {}, "mlm": {"schedule": {"start": EPOCHS}}},
}
HEADS = {
    "none": [],
    "first": [TYPE],
    "second": [TYPE | {"cls_position": 1}],
    "two": [TYPE | {"cls_position": 1}, DONOR | {"cls_position": 2}],
    "weightless": [TYPE, DONOR | {"cls_position": 2, "weight": 0.0}],
    "never": [TYPE, DONOR | {"cls_position": 2, "schedule": {"start": 3.0, "stop": 3.0}}],
}
WORDS = ["cls", "cls:1", "cls:2", "mean"]


def section(decoded, heads, **changes):
    return Checkpoint.model_validate({**DECODED[decoded], "label_heads": HEADS[heads], "epochs": EPOCHS, **changes})


@pytest.fixture(scope="module")
def gradients(made):
    """Return a model and its norms of d loss / d hidden state, by CLS position and over all genes, after each block."""
    shards = ShardSet(made.shards)

    def gradients(section, backbone="llama"):
        size = Model(
            hidden_size=16, layers=LAYERS, heads=2, intermediate_size=16, value_frequencies=4, decoder_width=8,
            cls_positions=CLS, backbone=backbone,
        )  # fmt: skip
        graph, masks = hierarchy(shards, section)
        model = build_model(shards, size, section, graph, seed=0)
        losses = losses_of(shards, cell_values(shards, "train", null=False), section, model, masks)
        module = PretrainingModule(model, section, losses, {}, seed=0, steps=80, steps_per_epoch=10, progress_every=5)
        module.trainer = SimpleNamespace(precision="32-true", world_size=1, global_step=40)
        loader = BatchLoader(BatchDataset(shards, "train", encoding_of(section), training=True, batch_size=16, seed=0))
        batch = module.on_before_batch_transfer(next(iter(loader)), 0)

        states = {}

        def keep(block):
            def hook(layer, inputs, returned):
                states[block] = returned if isinstance(returned, torch.Tensor) else returned[0]
                states[block].retain_grad()

            return hook

        early = dict(enumerate(list(layers_of(model.backbone, LAYERS))[:-1], 1))
        for block, layer in {**early, None: model.backbone}.items():
            layer.register_forward_hook(keep(block))
        terms = losses(batch, module._forward(model, batch, training=True))
        weights = losses.weights(module.epochs_done)
        sum(weights[name] * term.mean for name, term in terms.items()).backward()
        norms = {}
        for block, state in states.items():
            gradient = torch.zeros_like(state) if state.grad is None else state.grad
            parts = [*(gradient[:, k] for k in range(CLS)), gradient[:, CLS:]]
            for word, part in zip(WORDS, parts, strict=True):
                norms[word if block is None else f"{word}@{block}"] = float(part.norm())
        return model, norms

    return gradients


def trained(section, word):
    heads = [head.column for head in section.label_heads]
    return parse(word, cls_positions=CLS, layers=LAYERS, heads=heads).trained(section.losses)


@pytest.mark.parametrize(("decoded", "heads"), [pair for pair in product(DECODED, HEADS) if pair != ("none", "none")])
def test_losses_train_where_the_section_says(gradients, decoded, heads):
    training = section(decoded, heads)
    model, norms = gradients(training)
    assert norms.keys() == {*WORDS, *(f"{word}@{block}" for word in WORDS for block in (1, 2))}
    assert {word: norm > 0 for word, norm in norms.items()} == {word: trained(training, word) for word in norms}
    assert Pooling(list(norms), model).untrained == [word for word, norm in norms.items() if norm == 0]
    assert Pooling(None, model).untrained == []


@pytest.mark.parametrize("backbone", BACKBONES)
def test_losses_train_where_the_section_says_with_every_backbone(gradients, backbone):
    training = section("mlm", "second")
    _, norms = gradients(training, backbone)
    assert {word: norm > 0 for word, norm in norms.items()} == {word: trained(training, word) for word in norms}
    assert [word for word, norm in norms.items() if norm == 0] == ["cls", "cls:2"]


def test_a_reversed_head_changes_its_position_but_does_not_train_it(gradients):
    heads = [TYPE, DONOR | {"cls_position": 2, "gradient_reversal": {"coefficient": 1.0}}]
    training = section("wced", "none", label_heads=heads)
    assert gradients(training)[1]["cls:2"] > 0
    assert not trained(training, "cls:2") and "donor_id" not in training.losses


@pytest.mark.parametrize(
    ("decoded", "heads", "words"),
    [
        ("wced", "none", ["cls"]),
        ("wced", "two", ["cls"]),
        ("both", "second", ["cls"]),
        ("mlm", "none", ["mean"]),
        ("mlm", "second", ["mean"]),
        ("none", "two", ["cls:1"]),
        ("none", "weightless", ["cls"]),
    ],
)
def test_the_embedding_is_read_where_the_losses_read(decoded, heads, words):
    assert section(decoded, heads).read_from == words
    assert section(decoded, heads, readout=["mean@1", "cls:2"]).read_from == ["mean@1", "cls:2"]
