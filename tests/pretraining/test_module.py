from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from wced.config.pretraining import Checkpoint
from wced.model import WcedConfig, WcedModel
from wced.pretraining.module import PretrainingModule
from wced.shards.batches import to_tensors
from wced.shards.cells import from_csr
from wced.shards.encode import Encoding, encode
from wced.shards.vocabulary import LABEL_COLUMNS

G = 30
HEADS = [
    {"column": "cell_type_ontology_term_id", "loss": "hierarchical", "weight": 0.5},
    {"column": "donor_id", "loss": "cross_entropy", "weight": 0.25},
]


def make(objective="wced", steps=40, **changes):
    torch.manual_seed(0)
    section = Checkpoint.model_validate({"objective": objective, "label_heads": HEADS} | changes)
    heads = [
        {"column": head.column, "loss": head.loss, "classes": classes}
        for head, classes in zip(section.label_heads, (3, 4), strict=True)
    ]
    model = WcedModel(
        WcedConfig(
            vocabulary_size=G, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
            value_frequencies=3, decoder_width=6, objective=objective, label_heads=heads, head_dropout=0.0,
        )
    )  # fmt: skip
    module = PretrainingModule(
        model, section, measured_dv=np.ones((1, G), bool),
        descendant_leaves_cl={"cell_type_ontology_term_id": np.eye(3, dtype=bool)},
        steps=steps, steps_per_epoch=10, progress_every=5,
    )  # fmt: skip
    module.trainer = SimpleNamespace(precision="32-true")
    return module


def batch(labels=None, select=0.0):
    rng = np.random.default_rng(1)
    x_ng = rng.poisson(0.8, (4, G))
    x_ng[:, 0] = 1
    cells = from_csr(x_ng, np.arange(G, dtype=np.int32), G)
    made = to_tensors(
        encode(cells, np.ones((1, G), bool), Encoding(length=20, select=select, mask=1.0), training=True, seed=1)
    )
    made["labels"] = torch.full((4, len(LABEL_COLUMNS)), -1, dtype=torch.int32)
    for column, codes in (labels or {}).items():
        made["labels"][:, LABEL_COLUMNS.index(column)] = torch.tensor(codes, dtype=torch.int32)
    return made


def test_weights_of_linear_layers_decay_and_nothing_else():
    module = make(optimiser={"weight_decay": 0.3, "learning_rate": 0.02, "betas": [0.8, 0.95]})
    optimiser = module.configure_optimizers()["optimizer"]
    decayed, others = optimiser.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert optimiser.defaults["betas"] == (0.8, 0.95)
    names = {id(parameter): name for name, parameter in module.model.named_parameters()}
    linear = {f"{name}.weight" for name, layer in module.model.named_modules() if isinstance(layer, nn.Linear)}
    assert {names[id(parameter)] for parameter in decayed["params"]} == linear
    kept = {names[id(parameter)] for parameter in others["params"]}
    assert kept | linear == set(names.values()) and not kept & linear
    assert {"embedding.gene.weight", "embedding.cls", "embedding.value.frequency", "backbone.norm.weight"} <= kept


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 4, {0: 0.25, 2: 0.625, 4: 1.0, 20: 1.0, 39: 1.0}),
        ("constant", 0, {0: 1.0, 1: 1.0, 39: 1.0}),
        ("cosine", 4, {0: 0.25, 4: 1.0, 22: 0.55, 40: 0.1}),
        ("cosine", 0, {0: 1.0, 20: 0.55, 40: 0.1}),
    ],
    ids=["constant", "no_warmup", "cosine", "cosine_without_warmup"],
)
def test_learning_rate_follows_its_schedule(schedule, warmup, expected):
    module = make(optimiser={"schedule": schedule, "warmup_steps": warmup, "learning_rate": 0.01})
    made = module.configure_optimizers()
    assert made["lr_scheduler"]["interval"] == "step"
    optimiser, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(41):
        rates.append(optimiser.param_groups[0]["lr"] / 0.01)
        optimiser.step()
        scheduler.step()
    assert {step: rates[step] for step in expected} == pytest.approx(expected)


def test_label_heads_join_after_the_reconstruction_only_epochs():
    module = make(reconstruction_only_epochs=1.5, detection_weight=2.0)
    waiting = {"detection": 2.0, "value": 1.0, "cell_type_ontology_term_id": 0.0, "donor_id": 0.0}
    joined = waiting | {"cell_type_ontology_term_id": 0.5, "donor_id": 0.25}
    assert [module._joined(step) for step in (0, 14, 15, 39)] == [waiting, waiting, joined, joined]
    assert make()._joined(0) == joined | {"detection": 1.0}


@pytest.mark.parametrize("objective", ["wced", "mlm"])
def test_losses_are_those_that_have_something_to_say(objective):
    module = make(objective)
    made = batch({"donor_id": [0, -1, 3, 1]}, select=0.5 if objective == "mlm" else 0.0)
    output = module._forward(made)
    losses = module.losses(made, output)
    assert set(losses) == {"detection", "value", "donor_id"}
    expected = nn.functional.cross_entropy(output.label_logits["donor_id"][[0, 2, 3]], torch.tensor([0, 3, 1]))
    torch.testing.assert_close(losses["donor_id"], expected)
    assert all(loss.ndim == 0 and loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())


def test_whole_cells_are_reconstructed_from_inputs_that_lack_genes():
    module, made = make(), batch()
    output = module._forward(made)
    losses = module.losses(made, output)
    target_ng = torch.zeros(4, G)
    row = torch.repeat_interleave(torch.arange(4), made["target_offsets"].diff())
    target_ng[row, made["target_gene"]] = made["target_value"]
    detection = nn.functional.binary_cross_entropy_with_logits(output.detection_logits, (target_ng > 0).float())
    value = ((output.values - target_ng)[target_ng > 0] ** 2).mean()
    torch.testing.assert_close(losses["detection"], detection)
    torch.testing.assert_close(losses["value"], value)


def test_float16_has_no_fused_optimiser():
    module = make()
    assert module.configure_optimizers()["optimizer"].defaults["fused"] is True
    module.trainer = SimpleNamespace(precision="16-mixed")
    assert module.configure_optimizers()["optimizer"].defaults["fused"] is False
