"""A million validation cells take no more memory than a hundred thousand."""

from types import SimpleNamespace

import pytest
import torch

from speed.machine import usage
from wced.pretraining.gene_errors import GeneErrors
from wced.pretraining.gene_statistics import blocks_of_datasets

pytestmark = pytest.mark.release(part="scale")

G, CELLS, EXPRESSED, BATCHES = 500, 1000, 50, 1000


def test_a_million_cells_take_no_more_memory_than_a_hundred_thousand():
    generator = torch.Generator().manual_seed(0)
    errors = GeneErrors(G, blocks_of_datasets(tuple("abcdefgh"), torch.arange(8).numpy()))
    measured = torch.ones(CELLS, G, dtype=torch.bool)
    gene = torch.rand(CELLS, G, generator=generator).argsort(1)[:, :EXPRESSED].sort(1).values
    batch = {
        "target_row": torch.arange(CELLS).repeat_interleave(EXPRESSED),
        "target_offsets": EXPRESSED * torch.arange(CELLS + 1),
        "target_gene": gene.flatten().to(torch.int32),
    }
    resident = {}
    for step in range(BATCHES):
        batch["soma_joinid"] = CELLS * step + torch.arange(CELLS)
        batch["dataset"] = torch.full((CELLS,), step % 8, dtype=torch.int32)
        batch["target_value"] = torch.rand(CELLS * EXPRESSED, generator=generator)
        output = SimpleNamespace(
            detection_logits=torch.randn(CELLS, G, generator=generator),
            values=torch.rand(CELLS, G, generator=generator),
        )
        errors.update_cells(batch, output, measured)
        resident[step + 1] = usage().anonymous
    assert errors.sums().n_g.tolist() == [CELLS * BATCHES] * G
    assert resident[BATCHES] < resident[BATCHES // 10] + 10, "MB"
