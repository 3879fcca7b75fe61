"""Make an untrained model, its batches and its losses from a checkpoint's section and its shards."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from wced.config import pretraining as config
from wced.config.model import GivenGenes, Model
from wced.errors import WcedError
from wced.files import existing, sha256
from wced.genes.embeddings import read_gene_embeddings
from wced.genes.table import gene_group
from wced.model import WcedConfig, WcedModel
from wced.model.backbones import layers_of
from wced.model.modeling import INPUT_STD
from wced.objectives import LeafTargets
from wced.ontology.cell_ontology import load as load_ontology
from wced.ontology.cut import OntologyCut, cut
from wced.pretraining.gene_statistics import ValueSums
from wced.pretraining.losses import Losses
from wced.pretraining.start import depth_scale
from wced.shards.batches import BatchDataset
from wced.shards.cells import CellSource
from wced.shards.encode import Encoding
from wced.shards.input_genes import InputGenes, gene_choice
from wced.shards.vocabulary import Vocabulary

_CELLS = 65536

_SHAPE = {
    *("backbone", "hidden_size", "intermediate_size", "value_encoder", "value_frequencies", "trainable_frequencies"),
    *("embedding_norm", "cls_positions", "decoder_width", "head_dropout"),
}
"""Keys of the section `model` that have the same names in a model's config."""


def encoding_of(section: config.Checkpoint) -> Encoding:
    """Return how a checkpoint's section turns cells into sequences."""
    return Encoding(section.input, section.mlm, cell_target=section.wced is not None)


def input_genes(values: ValueSums, vocabulary: Vocabulary, section: config.Input) -> InputGenes:
    """Return how often training cells express each gene, and which genes belong to the groups of an input."""
    groups = {
        name: gene_group(name, vocabulary.gene_ids, vocabulary.symbols, section.gene_groups) for name in section.groups
    }
    return InputGenes(values.n_nonzero_g / np.maximum(values.n_g, 1), groups)


def training_batches(shards: CellSource, section: config.Checkpoint, genes: InputGenes, seed: int) -> BatchDataset:
    """Return the training batches of a section; `genes` are those of its input, `seed` that of order and sequences."""
    return BatchDataset(
        shards, "train", encoding_of(section), batch_size=section.batch_size, training=True, seed=seed,
        order=section.order, choice=gene_choice(genes, shards.measured_dv, section.input),
        views=1 if section.contrast is None else 2,
    )  # fmt: skip


def classes_of(shards: CellSource, column: str) -> tuple[str, ...]:
    """Return the classes of a label; raise WcedError if the shards lack the column or its classes."""
    if column not in shards.label_columns:
        raise WcedError(f"{column}: no label of the shards, which have {', '.join(shards.label_columns)}")
    classes = shards.labels.classes.get(column)
    if not classes:
        raise WcedError(f"label_heads: the shards hold no class of {column}")
    return classes


def standard_of(shards: CellSource, column: str) -> tuple[float, float]:
    """Return mean and standard deviation of a number over the training cells that have it.

    WcedError is raised if the shards lack the column, or its numbers are all the same or unknown.
    """
    if column not in shards.number_columns:
        raise WcedError(f"{column}: no number of the shards; list it in shards.number_columns")
    rows = shards.places("train")
    parts = [shards.column(column, rows[start : start + _CELLS]) for start in range(0, len(rows), _CELLS)]
    numbers = np.concatenate(parts).astype(np.float64)
    known = numbers[~np.isnan(numbers)]
    if not len(known) or known.std() == 0:
        raise WcedError(f"label_heads: {column} is the same or unknown in all training cells")
    return float(known.mean()), float(known.std())


def hierarchy(shards: CellSource, section: config.Checkpoint) -> tuple[OntologyCut | None, dict[str, LeafTargets]]:
    """Return the ontology cut to the classes of the hierarchical heads, and for each the leaves of its classes."""
    heads = [head for head in section.label_heads if head.loss == "hierarchical"]
    if not heads:
        return None, {}
    ontology = load_ontology()
    current = {head.column: [ontology.current(term) for term in classes_of(shards, head.column)] for head in heads}
    terms = {term for classes in current.values() for term in classes if term is not None}
    graph = cut(ontology, terms, residuals=heads[0].residual_weight is not None)
    # The last row, without any leaf, is that of classes that are not in the ontology.
    below_tl = np.vstack([graph.descendant_leaves_tl, np.zeros((1, len(graph.leaves)), bool)])
    residual_leaf_t = np.append(graph.residual_leaf_t, -1)
    targets = {}
    for column, classes in current.items():
        at_c = [-1 if term is None else graph.index[term] for term in classes]
        targets[column] = LeafTargets(below_tl[at_c], residual_leaf_t[at_c])
    return graph, targets


def build_model(
    shards: CellSource, size: Model, section: config.Checkpoint, graph: OntologyCut | None, seed: int
) -> WcedModel:
    """Return the untrained model of a section, with random weights from `seed`.

    WcedError is raised if a label head or the metadata name a column that the shards lack, or the file of gene
    embeddings is bad.
    """
    vectors = size.gene_embeddings and _gene_embeddings(size.gene_embeddings, shards.vocabulary.gene_ids)
    torch.manual_seed(seed)
    model = WcedModel(
        WcedConfig(
            **size.model_dump(include=_SHAPE),
            vocabulary_size=len(shards.vocabulary),
            vocabulary_sha256=shards.vocabulary.sha256,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            given_genes=int(vectors[1].sum()) if vectors else 0,
            given_width=vectors[0].shape[1] if vectors else 0,
            given_trainable=bool(size.gene_embeddings and size.gene_embeddings.trainable),
            metadata=[{"column": name, "classes": len(classes_of(shards, name))} for name in size.metadata],
            gene_states=[] if shards.labels.perturbations is None else ["perturbed"],
            decoders=[name for name in ("wced", "mlm") if getattr(section, name) is not None],
            hidden_genes=section.mlm is not None and section.mlm.hide_genes > 0,
            decoder_depth=depth_scale(shards) if section.depth else None,
            contrast=section.contrast and section.contrast.model_dump(include={"width", "cls_position"}),
            label_heads=[_head(shards, head, graph) for head in section.label_heads],
            input=section.input.model_dump(),
            readout=section.read_from,
            losses=section.losses,
        )
    )
    if vectors:
        model.embedding.give(*map(torch.from_numpy, vectors), INPUT_STD)
    return model


def losses_of(
    shards: CellSource, values: ValueSums | None, section: config.Checkpoint, model: WcedModel,
    targets: dict[str, LeafTargets],
) -> Losses:  # fmt: skip
    """Return the losses of a section over the columns of the shards.

    `values` is of the training cells, None where the training state holds their scale; `targets` is from `hierarchy`.
    """
    return Losses(
        section,
        measured_dv=shards.measured_dv,
        label_columns=shards.label_columns,
        number_columns=shards.number_columns,
        leaf_targets=targets,
        related_cc=_related(shards, section.contrast) if section.contrast else None,
        standard={h["column"]: (h["mean"], h["std"]) for h in model.config.label_heads if h["loss"] == "mse"},
        value_scale_g=np.ones(len(shards.vocabulary), np.float32) if values is None else values.error_scale_g,
    )


def compile_layers(model: WcedModel) -> None:
    """Compile each layer of the encoder by torch; names of weights stay."""
    for layer in layers_of(model.backbone, model.config.num_hidden_layers):
        layer.compile()


def _related(shards: CellSource, section: config.Contrast) -> np.ndarray | None:
    """Return which classes of the column of positives are near each other in the Cell Ontology; classes × classes."""
    if section.positives is None:
        return None
    ontology = load_ontology()
    current = [ontology.current(term) for term in classes_of(shards, section.positives)]
    near = [set() if term is None else ontology.near(term, section.most_links) for term in current]
    related_cc = np.array([[other in terms for other in current] for terms in near])
    return related_cc | np.eye(len(current), dtype=bool)


def _head(shards: CellSource, head: config.LabelHead, graph: OntologyCut | None) -> dict[str, Any]:
    spec = {"column": head.column, "loss": head.loss, "cls_position": head.cls_position}
    if head.loss == "mse":
        mean, std = standard_of(shards, head.column)
        return spec | {"classes": 1, "mean": mean, "std": std}
    classes = classes_of(shards, head.column)
    return spec | {"classes": len(graph.leaves) if head.loss == "hierarchical" and graph else len(classes)}


def _gene_embeddings(section: GivenGenes, gene_ids: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of the genes that have one in the section's file, and which genes these are."""
    path = existing(Path(section.path), "gene embeddings")
    if section.sha256 is not None and sha256(path) != section.sha256:
        raise WcedError(f"{path}: its checksum is not the one in model.gene_embeddings.sha256")
    return read_gene_embeddings(path, gene_ids)
