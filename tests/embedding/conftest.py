from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from wced.checkpoint import Checkpoint
from wced.model import WcedConfig, WcedModel
from wced.ontology.cut import OntologyCut
from wced.shards.input_genes import InputGenes
from wced.shards.vocabulary import Labels, Vocabulary

VOCABULARY = Vocabulary(tuple(f"ENSG{i:011d}" for i in range(20)), tuple(f"G{i}" for i in range(20)))
ONTOLOGY = OntologyCut(("CL:0", "CL:1", "CL:2", "CL:3"), ("cell", "one", "two", "three"), ((), (0,), (0,), (1,)))
CELL_TYPE = "cell_type_ontology_term_id"
HEADS = [
    {"column": CELL_TYPE, "loss": "hierarchical", "classes": 2},
    {"column": "tissue_ontology_term_id", "loss": "focal", "classes": 3, "cls_position": 1},
    {"column": "age", "loss": "mse", "classes": 1, "mean": 40.0, "std": 10.0},
]
LABELS = Labels(
    {
        CELL_TYPE: ("CL:1", "CL:2", "CL:3"),
        "tissue_ontology_term_id": ("UBERON:0000178", "UBERON:0002048", "here"),
        "assay_ontology_term_id": ("EFO:1", "EFO:2"),
    },
    {},
)


def make_checkpoint(length: int = 6, heads: list[dict] = HEADS, ontology: OntologyCut | None = ONTOLOGY, **more):
    """Return a random model of 20 genes with two CLS positions, whose weights are large enough to tell cells apart."""
    torch.manual_seed(5)
    sizes = {
        "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8,
        "value_frequencies": 3, "decoder_width": 4, "cls_positions": 2,
    }  # fmt: skip
    model = WcedModel(
        WcedConfig(
            vocabulary_size=20, vocabulary_sha256=VOCABULARY.sha256, label_heads=[dict(head) for head in heads],
            **{"input": {"length": length}, **sizes, **more},
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1 if name.endswith("frequency") else 6)
    return Checkpoint(model.eval(), VOCABULARY, LABELS, ontology, InputGenes(np.full(len(VOCABULARY), 0.5)))


@pytest.fixture(scope="session")
def make() -> Callable[..., Checkpoint]:
    """What makes checkpoints that differ from the usual one."""
    return make_checkpoint


@pytest.fixture
def checkpoint() -> Checkpoint:
    return make_checkpoint()


@pytest.fixture
def adata() -> ad.AnnData:
    """Seven cells, genes shuffled among others; the last cell expresses no gene of the vocabulary."""
    rng = np.random.default_rng(6)
    names = [*VOCABULARY.gene_ids[3:], "ENSG_other", "ENSG_another"]
    x_ng = rng.poisson(1.5, (7, len(names))).astype(np.float32)
    x_ng[6, :-2] = 0
    cells = ad.AnnData(sparse.csr_matrix(x_ng), var=pd.DataFrame(index=names))
    cells.obs_names = [f"cell{i}" for i in range(7)]
    return cells[:, rng.permutation(len(names))].copy()
