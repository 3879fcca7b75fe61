"""Every backbone with every value encoder and decoder learns, and is the same after saving and loading."""

from dataclasses import fields
from itertools import product
from typing import get_args

import pytest
import torch

from wced.config.model import Model
from wced.model import WcedConfig, WcedModel
from wced.model.configuration import BACKBONES, VALUE_ENCODERS

G = 30
HEADS = [{"column": "donor_id", "loss": "focal", "classes": 3}, {"column": "age", "loss": "mse", "classes": 1}]
DECODERS = {"wced": ["wced"], "mlm": ["mlm"], "both": ["wced", "mlm"], "labels_alone": []}


def outputs(model, batch):
    """Return all outputs as a list."""
    output = model(**batch)
    decoded = (getattr(output, field.name) for field in fields(output) if field.name != "label_logits")
    return [*(part for part in decoded if part is not None), *output.label_logits.values()]


@pytest.mark.parametrize(("backbone", "encoder", "decoders"), list(product(BACKBONES, VALUE_ENCODERS, DECODERS)))
def test_it_learns_and_reloads(tmp_path, backbone, encoder, decoders):
    torch.manual_seed(0)
    model = WcedModel(
        WcedConfig(
            vocabulary_size=G, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
            backbone=backbone, value_encoder=encoder, value_frequencies=4, decoder_width=8, cls_positions=2,
            decoders=DECODERS[decoders], hidden_genes="mlm" in DECODERS[decoders], label_heads=HEADS,
            metadata=[{"column": "assay_ontology_term_id", "classes": 2}], input={"values": "bins", "bins": 5},
            gene_states=["perturbed"],
        )
    )  # fmt: skip
    gene = torch.stack([torch.randperm(G)[:9] for _ in range(3)])
    masked, gene_masked = torch.zeros(2, 3, 9, dtype=torch.bool)
    masked[:, :2], gene_masked[:, 2:4] = True, True
    batch = {
        "gene": gene, "value": torch.randint(0, 6, (3, 9)).float(), "length": torch.tensor([9, 6, 4]), "masked": masked,
        "gene_masked": gene_masked, "metadata": torch.tensor([[0], [1], [-1]]),
        "gene_state": torch.randint(0, 2, (3, 9)),
    }  # fmt: skip
    before = outputs(model.eval(), batch)
    optimiser, losses = torch.optim.AdamW(model.parameters(), 3e-3), []
    for _ in range(3):
        loss = sum((part - 1).square().mean() for part in outputs(model, batch))
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        optimiser.step()
    assert losses[2] < losses[1] < losses[0]
    after = outputs(model, batch)
    assert all(torch.isfinite(part).all() for part in after)
    assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True))

    model.save_pretrained(tmp_path)
    reloaded = WcedModel.from_pretrained(tmp_path).eval()
    weights = reloaded.state_dict()
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    # At another address in memory, weights may be summed in another order.
    torch.testing.assert_close(outputs(reloaded, batch), after, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("key", "names"), [("backbone", BACKBONES), ("value_encoder", VALUE_ENCODERS)])
def test_the_config_lists_every_module(key, names):
    assert set(get_args(Model.model_fields[key].annotation)) == set(names)
