from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from wced.config.pretraining import Checkpoint, Input, Masked
from wced.model import WcedConfig, WcedModel
from wced.objectives import LeafTargets, weighted_mean
from wced.pretraining.losses import Losses
from wced.pretraining.module import PretrainingModule
from wced.shards.batches import to_tensors
from wced.shards.cells import from_csr
from wced.shards.encode import Encoding, encode

G = 30
SCALE_G = np.random.default_rng(7).uniform(0.2, 2, G).astype(np.float32)
LABELS = ("cell_type_ontology_term_id", "donor_id")
HEADS = [
    {"column": "cell_type_ontology_term_id", "loss": "hierarchical", "weight": 0.5},
    {"column": "donor_id", "loss": "cross_entropy", "weight": 0.25},
]


def make(objectives=("wced",), steps=40, **changes):
    torch.manual_seed(0)
    section = Checkpoint.model_validate({key: {} for key in objectives} | {"label_heads": HEADS} | changes)
    classes = {"cell_type_ontology_term_id": 3, "donor_id": 4, "age": 1}
    heads = [{"column": h.column, "loss": h.loss, "classes": classes[h.column]} for h in section.label_heads]
    model = WcedModel(
        WcedConfig(
            vocabulary_size=G, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
            value_frequencies=3, decoder_width=6, decoders=list(objectives), label_heads=heads, head_dropout=0.0,
            hidden_genes=section.mlm is not None and section.mlm.hide_genes > 0,
        )
    )  # fmt: skip
    losses = Losses(
        section, measured_dv=np.ones((1, G), bool), label_columns=LABELS, number_columns=("age",),
        leaf_targets={"cell_type_ontology_term_id": LeafTargets(np.eye(3, dtype=bool), np.full(3, -1))},
        standard={"age": (50.0, 10.0)}, value_scale_g=SCALE_G,
    )  # fmt: skip
    module = PretrainingModule(model, section, losses, {}, seed=0, steps=steps, steps_per_epoch=10, progress_every=5)
    module.trainer = SimpleNamespace(precision="32-true", world_size=1, global_step=0)
    return module


def batch(module, labels=None, numbers=None):
    rng = np.random.default_rng(1)
    x_ng = rng.poisson(0.8, (4, G))
    x_ng[:, 0] = 1
    cells = from_csr(x_ng, np.arange(G, dtype=np.int32), G)
    mlm = module.section.mlm
    masks = Masked(select=0.5, mask=0.5, hide_genes=mlm.hide_genes) if mlm else None
    cells = encode(cells, np.ones((1, G), bool), Encoding(Input(length=20), masks), training=True, seed=1)
    tensors = to_tensors(cells)
    tensors["labels"] = torch.full((4, len(LABELS)), -1, dtype=torch.int32)
    for column, codes in (labels or {}).items():
        tensors["labels"][:, LABELS.index(column)] = torch.tensor(codes, dtype=torch.int32)
    if numbers is not None:
        tensors["numbers"] = torch.tensor(numbers).reshape(4, 1)
    return module.on_before_batch_transfer(tensors, 0)


def trained_on(module, labels=None, numbers=None):
    """A batch and what the model returns for it in training."""
    cells = batch(module, labels, numbers)
    return cells, module._forward(module.model, cells, training=True)


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
    configured = module.configure_optimizers()
    assert configured["lr_scheduler"]["interval"] == "step"
    optimiser, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(41):
        rates.append(optimiser.param_groups[0]["lr"] / 0.01)
        optimiser.step()
        scheduler.step()
    assert {step: rates[step] for step in expected} == pytest.approx(expected)


def test_objectives_join_ramp_and_leave_by_their_schedules():
    section = {"schedule": {"start": 1.5, "ramp": 1.0, "stop": 4.0}}
    losses = make(wced={"detection_weight": 2.0}, label_heads=[HEADS[0] | section, HEADS[1]]).losses
    always = {"wced_detection": 2.0, "wced_value": 1.0, "donor_id": 0.25}
    for epochs, weight in {0: 0, 1.4: 0, 1.5: 0, 2.0: 0.25, 2.5: 0.5, 3.9: 0.5, 4.0: 0, 9: 0}.items():
        assert losses.weights(epochs) == pytest.approx(always | {"cell_type_ontology_term_id": weight})
    assert losses.weights() == always | {"cell_type_ontology_term_id": 0.5}


@pytest.mark.parametrize(
    ("objectives", "changes", "names"),
    [
        (("wced",), {}, {"wced_detection", "wced_value"}),
        (("mlm",), {}, {"mlm_detection", "mlm_value"}),
        (("wced", "mlm"), {"mlm": {"mask": 0.5, "hide_genes": 0.5}},
         {"wced_detection", "wced_value", "mlm_detection", "mlm_value", "mlm_gene"}),
        ((), {}, set()),
    ],
    ids=["wced", "mlm", "both_and_genes", "labels_alone"],
)  # fmt: skip
def test_every_objective_gives_its_losses(objectives, changes, names):
    module = make(objectives, **changes)
    cells, output = trained_on(module, {"donor_id": [0, -1, 3, 1]})
    terms = module.losses(cells, output)
    assert set(terms) == set(module.losses.weights()) == names | set(LABELS)
    expected = nn.functional.cross_entropy(output.label_logits["donor_id"][[0, 2, 3]], torch.tensor([0, 3, 1]))
    torch.testing.assert_close(terms["donor_id"].mean, expected)
    assert terms["donor_id"].count == 3 and terms["cell_type_ontology_term_id"].count == 0
    for term in terms.values():
        assert term.total.ndim == 0 and term.total.dtype == term.count.dtype == torch.float32
        assert torch.isfinite(term.total)
    assert module.losses.correct(cells, output)["donor_id_accuracy"].count == 3


def test_a_number_is_learned_standardised():
    module = make(label_heads=[HEADS[0], {"column": "age", "loss": "mse"}])
    cells, output = trained_on(module, numbers=[40.0, 60.0, float("nan"), 50.0])
    predicted = output.label_logits["age"][[0, 1, 3], 0]
    term = module.losses(cells, output)["age"]
    assert term.count == 3
    torch.testing.assert_close(term.mean, ((predicted - torch.tensor([-1.0, 1.0, 0.0])) ** 2).mean())
    assert "age_accuracy" not in module.losses.correct(cells, output)


def test_a_reversed_gradient_reaches_the_encoder_and_not_the_head():
    gradients = {}
    for coefficient in (None, 0.5):
        reversal = None if coefficient is None else {"coefficient": coefficient}
        module = make((), label_heads=[HEADS[0], HEADS[1] | {"gradient_reversal": reversal}])
        module.losses(*trained_on(module, {"donor_id": [0, 2, 3, 1]}))["donor_id"].mean.backward()
        head, encoder = module.model.label_heads[1], module.model.backbone
        gradients[coefficient] = [[p.grad for p in part.parameters()] for part in (head, encoder)]
    (head, encoder), (same, turned) = gradients[None], gradients[0.5]
    assert all(torch.equal(a, b) for a, b in zip(head, same, strict=True))
    assert any(a.abs().max() > 0 for a in encoder)
    for a, b in zip(encoder, turned, strict=True):
        torch.testing.assert_close(b, -0.5 * a)


def test_reversal_follows_its_schedule():
    head = HEADS[1] | {"gradient_reversal": {"coefficient": 2.0, "schedule": {"ramp": 4.0}}}
    losses = make(label_heads=[HEADS[0], head]).losses
    assert [losses.reversal(epochs) for epochs in (0, 1, 8)] == [{"donor_id": value} for value in (0.0, 0.5, 2.0)]


def test_targets_are_whole_cells_where_inputs_lack_genes():
    module = make()
    cells, output = trained_on(module)
    terms = module.losses(cells, output)
    target_ng = torch.zeros(4, G)
    target_ng[cells["target_row"], cells["target_gene"].long()] = cells["target_value"]
    detection = nn.functional.binary_cross_entropy_with_logits(output.detection_logits, (target_ng > 0).float())
    value = ((output.values - target_ng)[target_ng > 0] ** 2).mean()
    torch.testing.assert_close(terms["wced_detection"].mean, detection)
    torch.testing.assert_close(terms["wced_value"].mean, value)


@pytest.mark.parametrize("scaled", ["wced", "mlm"])
def test_each_decoder_scales_the_errors_of_its_genes_if_asked_to(scaled):
    parts = {name: {"value_scale": "gene_std"} if name == scaled else {} for name in ("wced", "mlm")}
    module = make(("wced", "mlm"), **parts)
    cells, output = trained_on(module)
    terms, scale_g = module.losses(cells, output), torch.from_numpy(SCALE_G)
    row, gene = cells["target_row"], cells["target_gene"].long()
    error = {"wced": output.values[row, gene] - cells["target_value"]}
    target = cells["position_target"][cells["masked"]]
    error["mlm"] = (output.position_values - target)[target > 0]
    genes = {"wced": gene, "mlm": cells["gene"][cells["masked"]][target > 0].long()}
    for name in error:
        expected = error[name] / scale_g[genes[name]] if name == scaled else error[name]
        torch.testing.assert_close(terms[f"{name}_value"].mean, expected.square().mean())


def test_float16_has_no_fused_optimiser():
    module = make()
    assert module.configure_optimizers()["optimizer"].defaults["fused"] is True
    module.trainer = SimpleNamespace(precision="16-mixed")
    assert module.configure_optimizers()["optimizer"].defaults["fused"] is False


@pytest.mark.parametrize("scale", ["none", "gene_std"], ids=["as_they_are", "scaled"])
@pytest.mark.parametrize("objectives", [("wced",), ("mlm",), ("wced", "mlm")], ids=["wced", "mlm", "both"])
def test_two_ranks_of_half_the_batch_give_the_gradients_of_one(objectives, scale):
    """The halves have different numbers of labels, expressed genes and hidden positions."""
    heads = [HEADS[0], {"column": "age", "loss": "mse", "weight": 2.0}]
    module = make(objectives, label_heads=heads, **{name: {"value_scale": scale} for name in objectives})
    numbers = [40.0, 60.0, float("nan"), float("nan")]
    whole = batch(module, {"cell_type_ontology_term_id": [0, -1, 2, 1]}, numbers)

    def gradients(cells):
        module.zero_grad()
        terms = module.losses(cells, module._forward(module.model, cells, training=True))
        weighted_mean(module._over_ranks(terms), module.losses.weights()).backward()
        return [p.grad.clone() for p in module.model.parameters() if p.grad is not None], terms

    expected, _ = gradients(whole)
    halves = [half(module, whole, rows) for rows in ([0, 2, 3], [1])]
    counts = sum(torch.stack([term.count for term in gradients(part)[1].values()]) for part in halves)
    module.trainer = SimpleNamespace(
        world_size=2, global_step=0, strategy=SimpleNamespace(reduce=lambda _, reduce_op: counts)
    )
    for one, two, both in zip(*(gradients(part)[0] for part in halves), expected, strict=True):
        torch.testing.assert_close((one + two) / 2, both, rtol=1e-5, atol=1e-7)


def half(module, whole, rows):
    """Some cells of a batch as a batch of their own."""
    names = ("gene", "value", "length", "masked", "position_target", "expressed", "dataset", "labels", "numbers")
    part = {name: whole[name][rows] for name in names if name in whole}
    if "target_offsets" in whole:
        pieces = [slice(*whole["target_offsets"][i : i + 2].tolist()) for i in rows]
        part["target_offsets"] = torch.tensor([0, *(p.stop - p.start for p in pieces)]).cumsum(0)
        for name in ("target_gene", "target_value"):
            part[name] = torch.cat([whole[name][piece] for piece in pieces])
    return module.on_before_batch_transfer(part, 0)


def test_metadata_are_hidden_in_some_of_the_training_cells():
    module = make()
    module.metadata_at, seen = [1], []
    module.model.forward = lambda *_, metadata, **__: seen.append(metadata[:, 0].tolist())
    for module.metadata_dropout in (0.0, 1.0):
        cells, _ = trained_on(module, {"donor_id": [0, 1, 2, 3]})
    module._forward(module.model, cells, training=False)
    assert seen == [[0, 1, 2, 3], [-1] * 4, [0, 1, 2, 3]]
