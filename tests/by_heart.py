"""Train a small model on a handful of cells, with one objective alone."""

from types import SimpleNamespace

import torch

from wced.config.model import Model
from wced.config.pretraining import Checkpoint
from wced.objectives import weighted_mean
from wced.pretraining.build import build_model, encoding_of, hierarchy, losses_of
from wced.pretraining.gene_statistics import cell_values
from wced.pretraining.module import PretrainingModule
from wced.pretraining.start import start_from_statistics
from wced.shards.batches import BatchDataset

SIZE = Model(hidden_size=32, layers=2, heads=2, intermediate_size=64, decoder_width=64, head_dropout=0.0)
CELLS, STEPS = 12, 250

OBJECTIVES = {
    "wced": {"wced": {}},
    "wced_zero_inflated": {"wced": {"value_loss": "zero_inflated_mse"}},
    "mlm": {"mlm": {"select": 0.3, "mask": 1.0}},
    "mlm_genes": {"mlm": {"select": 0.3, "mask": 0.0, "hide_genes": 1.0}},
    "hierarchical": {"label_heads": [{"column": "cell_type_ontology_term_id", "loss": "hierarchical"}]},
    "focal": {"label_heads": [{"column": "tissue_ontology_term_id", "loss": "focal"}]},
    "cross_entropy": {"label_heads": [{"column": "donor_id", "loss": "cross_entropy"}]},
}


def learn_by_heart(shards, objective):
    """Return the loss of every step on one batch of `CELLS` cells from all over the training cells of `shards`."""
    section = Checkpoint.model_validate(OBJECTIVES[objective] | {"input": {"length": 48}})
    graph, targets = hierarchy(shards, section)
    model = build_model(shards, SIZE, section, graph, seed=1)
    values = cell_values(shards, "train", null=False)
    start_from_statistics(model, shards, values, SIZE, 1)
    losses = losses_of(shards, values, section, model, targets)
    module = PretrainingModule(model, section, losses, {}, seed=0, steps=STEPS, steps_per_epoch=1, progress_every=9)
    module.trainer = SimpleNamespace(world_size=1, global_step=0)
    dataset = BatchDataset(shards, "train", encoding_of(section), batch_size=CELLS, training=True, seed=2)
    # Cells from all over the split: a sequential batch would be cells of one dataset.
    dataset.cells = lambda key: shards.places("train")[:: shards.count("train") // CELLS][:CELLS]
    batch = module.on_before_batch_transfer(dataset[0, 0], 0)
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    found = []
    for _ in range(STEPS):
        loss = weighted_mean(losses(batch, module._forward(model, batch, training=True)), losses.weights())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        found.append(loss.item())
    return found
