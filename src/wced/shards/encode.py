"""Turn raw counts into the sequences a model reads and the targets it must predict, in compiled code.

Two passes over the cells of a batch: the first says how long each sequence becomes, so that the arrays are made no
larger than needed, the second fills them. Both draw the same numbers (`wced.shards.draws`).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from wced.shards.cells import CellViews, RaggedCells
from wced.shards.draws import UNIT
from wced.shards.kernels import expressed_room, fill, sequence_lengths
from wced.shards.memory import arrays
from wced.shards.perturbations import mark_perturbed

VALUES = ("log1p_10k", "ranks", "bins")
ZERO_MODES = ("exclude", "include", "interleave")


@dataclass(frozen=True)
class Encoding:
    """How a cell becomes a sequence; without `training` nothing is drawn: no dropout, interleaving or masking."""

    length: int
    """Largest number of genes in a sequence; CLS positions, which the model adds, do not count."""
    subset: Literal["random", "most_expressed"] = "random"
    """Which genes a training sequence keeps when the cell has more than fit; inference keeps the most expressed."""
    values: Literal["log1p_10k", "ranks", "bins"] = "log1p_10k"
    """What stands for a gene's expression in the input; targets are log1p_10k always.
    `ranks`: (r - ½)/n, where r is the rank among the n genes that survive dropout, 1 for the lowest count, ties sharing
    their mean. `bins`: 1 + ⌊bins · (r - ½)/n⌋, bins of equal frequency from 1 to `bins`. Zero is 0 in all."""
    bins: int = 50
    """Number of bins."""
    zeros: Literal["exclude", "include", "interleave"] = "exclude"
    """Genes that the cell does not express: left out; put in as far as they fit, in training a random subset of them,
    in inference an evenly spaced one; or mixed in at random, in training only. Genes that the cell's dataset never
    measured are no zeros."""
    nonzero_ratio: float = 0.9
    """Share of expressed genes when zeros are interleaved."""
    nonzero_only: float = 0.0
    """Share of cells whose sequence gets no zeros although zeros are interleaved."""
    dropout: float = 0.0
    """Probability that an expressed gene is left out of the input."""
    select: float = 0.0
    """Share of positions chosen for prediction (0 for no masked language modelling)."""
    mask: float = 0.0
    """Share of the chosen positions whose value is hidden."""
    hide_genes: float = 0.0
    """Share of the chosen positions whose gene is hidden instead, while the value stays visible."""
    cell_target: bool = True
    """Whether a batch has the values of all expressed genes as a flat target."""

    def __post_init__(self) -> None:
        if self.values not in VALUES or self.zeros not in ZERO_MODES or self.subset not in ("random", "most_expressed"):
            raise ValueError(f"no such encoding: {self}")
        if self.mask + self.hide_genes > 1:
            raise ValueError(f"mask {self.mask} and hide_genes {self.hide_genes} are shares that add up to more than 1")

    @cached_property
    def limits(self) -> np.ndarray:
        """What `mask_limits` says where all genes are chosen as often."""
        return mask_limits(self, self.select)


@dataclass(frozen=True)
class Batch:
    """A finished batch as arrays: n cells, l positions, t expressed genes in all. What is not asked for is None."""

    gene: np.ndarray
    """int32, (n, l): vocabulary ids, those of expressed genes ascending; 0 at padding."""
    value: np.ndarray
    """float32, (n, l): the encoded values; log1p_10k is over the genes that survive dropout; 0 at zeros and padding."""
    length: np.ndarray
    """int64, (n,): positions that are there; the rest is padding."""
    masked: np.ndarray | None
    """bool, (n, l): positions whose value the model must not see, in training with `select`."""
    gene_masked: np.ndarray | None
    """bool, (n, l): positions whose gene the model must not see (`gene` has it as the target), with `hide_genes`."""
    position_target: np.ndarray | None
    """float32, (n, l): log1p_10k over the whole cell at every position, with `select`."""
    target_offsets: np.ndarray | None
    """int64, (n + 1,): where each cell's expressed genes begin in the flat targets."""
    target_gene: np.ndarray | None
    """int32, (t,): vocabulary ids of all expressed genes, also those that the input lacks."""
    target_value: np.ndarray | None
    """float32, (t,): their log1p_10k over the whole cell."""
    dataset: np.ndarray
    """int32, (n,): row of the measured-gene mask."""
    labels: np.ndarray
    """int32, (n, label columns): class codes, -1 for unknown."""
    numbers: np.ndarray | None
    """float32, (n, number columns): NaN for unknown; where the source has such columns."""
    gene_state: np.ndarray | None
    """int8, (n, l): 1 where the gene was perturbed in the cell, else 0; where the source knows of perturbations."""
    soma_joinid: np.ndarray
    """int64, (n,): identity of each cell."""


def measured_counts(measured_dv: np.ndarray) -> np.ndarray:
    """Return how many genes each dataset measured; int64, (datasets,)."""
    return np.count_nonzero(measured_dv, axis=1).astype(np.int64)


def mask_limits(encoding: Encoding, chosen: float | np.ndarray) -> np.ndarray:
    """Return the limits below which a position's number makes its value, or else its gene, hidden.

    Parameters
    ----------
    encoding
        Shares of chosen positions whose value and whose gene is hidden.
    chosen
        Probability that a position is chosen; or (genes,), that one which holds each gene is.

    Returns
    -------
    numpy.ndarray
        int32, (2, 1 or genes), of numbers in [0, UNIT).
    """
    shares = np.array([encoding.mask, encoding.mask + encoding.hide_genes])
    return np.round(shares[:, None] * np.atleast_1d(chosen) * UNIT).astype(np.int32)


def encode(
    cells: RaggedCells | CellViews,
    measured_dv: np.ndarray,
    encoding: Encoding,
    *,
    training: bool,
    seed: int = 0,
    epoch: int = 0,
    measured_d: np.ndarray | None = None,
    limits: np.ndarray | None = None,
) -> Batch:
    """Return the batch of some cells.

    Parameters
    ----------
    cells
        Raw counts of n cells.
    measured_dv
        bool, datasets × genes: genes that a dataset never measured are not sampled as zeros.
    encoding
        How a cell becomes a sequence.
    training
        Whether anything is drawn at random. Without it a cell that has more genes than fit is represented
        by its most expressed ones, and nothing is dropped, interleaved or masked.
    seed, epoch
        With a cell's soma_joinid, the seed of its streams.
    measured_d
        What `measured_counts` says of `measured_dv`, to spare counting for every batch.
    limits
        What `mask_limits` says of the encoding, where genes differ in how often they are chosen.

    Returns
    -------
    Batch
        Padded to the longest sequence of the batch (to one position, where all cells are empty).
    """
    n, cells = len(cells), cells.views()
    zeros = ZERO_MODES.index(encoding.zeros)
    interleave = zeros == 2 and training
    lengths, zeros_n = np.empty(n, np.int64), np.empty(n, np.int64)
    dropped = round(encoding.dropout * UNIT)
    if measured_d is None:
        measured_d = measured_counts(measured_dv) if zeros else np.zeros(len(measured_dv), np.int64)
    sequence_lengths(
        cells.offsets, cells.soma_joinid, cells.dataset, measured_d,
        encoding.length, zeros, encoding.nonzero_ratio, round(encoding.nonzero_only * UNIT), dropped, training,
        seed, epoch, lengths, zeros_n,
    )  # fmt: skip
    mlm, shape = encoding.select > 0, (n, int(lengths.max(initial=1)))
    hides_genes = mlm and training and encoding.hide_genes > 0
    targets = (int(cells.offsets[-1]) if encoding.cell_target else 0,)
    made = arrays(
        {
            "gene": (shape, np.int32),
            "value": (shape, np.float32),
            "masked": (shape if mlm and training else (0, 0), np.bool_),
            "gene_masked": (shape if hides_genes else (0, 0), np.bool_),
            "position_target": (shape if mlm else (0, 0), np.float32),
            "target_gene": (targets, np.int32),
            "target_value": (targets, np.float32),
            "gene_state": (shape if cells.perturbed is not None else (0, 0), np.int8),
        }
    )
    gene_state = made.pop("gene_state")
    fill(
        cells.offsets, cells.gene_at, cells.count_at, cells.like, cells.soma_joinid, cells.dataset, measured_dv,
        measured_d,
        expressed_room(encoding.length, interleave, encoding.nonzero_ratio), training and encoding.subset == "random",
        VALUES.index(encoding.values), encoding.bins if encoding.values == "bins" else 0, dropped,
        encoding.limits if limits is None else limits, training, seed, epoch, lengths, zeros_n, *made.values(),
    )  # fmt: skip
    if cells.perturbed is not None:
        mark_perturbed(made["gene"], lengths, cells.perturbed, gene_state)
    if not (mlm and training):
        made["masked"] = None
    if not hides_genes:
        made["gene_masked"] = None
    if not mlm:
        made["position_target"] = None
    if not encoding.cell_target:
        made["target_gene"] = made["target_value"] = None
    return Batch(
        **made,
        length=lengths,
        target_offsets=cells.offsets if encoding.cell_target else None,
        dataset=cells.dataset,
        labels=cells.labels,
        numbers=cells.numbers,
        gene_state=None if cells.perturbed is None else gene_state,
        soma_joinid=cells.soma_joinid,
    )
