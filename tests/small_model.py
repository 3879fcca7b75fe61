"""A random model of a few genes whose embeddings tell cells apart, for tests of what reads checkpoints."""

import numpy as np
import torch

from wced.checkpoint import Checkpoint
from wced.model import WcedConfig, WcedModel
from wced.ontology.cut import OntologyCut
from wced.shards.input_genes import InputGenes
from wced.shards.vocabulary import Labels, Vocabulary

CELL_TYPE, TISSUE = "cell_type_ontology_term_id", "tissue_ontology_term_id"
VOCABULARY = Vocabulary(tuple(f"ENSG{i:011d}" for i in range(20)), tuple(f"G{i}" for i in range(20)))
ONTOLOGY = OntologyCut(("CL:0", "CL:1", "CL:2", "CL:3"), ("cell", "one", "two", "three"), ((), (0,), (0,), (1,)))
HEADS = [
    {"column": CELL_TYPE, "loss": "hierarchical", "classes": 2},
    {"column": TISSUE, "loss": "focal", "classes": 3, "cls_position": 1},
    {"column": "age", "loss": "mse", "classes": 1, "mean": 40.0, "std": 10.0},
]
LABELS = Labels(
    {
        CELL_TYPE: ("CL:1", "CL:2", "CL:3"),
        TISSUE: ("UBERON:0000178", "UBERON:0002048", "here"),
        "assay_ontology_term_id": ("EFO:1", "EFO:2"),
        "donor_id": ("d:1", "d:2"),
    },
    {},
)


def make_checkpoint(
    length=6, heads=HEADS, ontology=ONTOLOGY, *, vocabulary=VOCABULARY, labels=LABELS, seed=5, scale=6, **config
):
    """Return a checkpoint with two CLS positions; its initial weights are multiplied by `scale`, as they are small."""
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8,
        "value_frequencies": 3, "decoder_width": 4, "cls_positions": 2, "input": {"length": length},
    }  # fmt: skip
    facts = {"vocabulary_size": len(vocabulary), "vocabulary_sha256": vocabulary.sha256}
    model = WcedModel(WcedConfig(**facts, **sizes | {"label_heads": [dict(head) for head in heads]} | config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1 if name.endswith("frequency") else scale)
    return Checkpoint(model.eval(), vocabulary, labels, ontology, InputGenes(np.full(len(vocabulary), 0.5)))
