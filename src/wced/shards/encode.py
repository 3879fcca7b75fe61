"""Turn raw counts into the sequences a model reads and the targets it must predict, in compiled code.

Two passes over the cells of a batch: the first says how long each sequence becomes, so that the arrays are made no
larger than needed, the second fills them. Both draw the same numbers (`wced.shards.draws`).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from wced.shards.cells import CellViews, RaggedCells
from wced.shards.draws import UNIT
from wced.shards.input_genes import GeneChoice
from wced.shards.kernels import INFORMATIVE, MOST_EXPRESSED, RANDOM, expressed_room, fill, sequence_lengths
from wced.shards.memory import arrays
from wced.shards.perturbations import mark_perturbed
from wced.shards.reduction import reduce_cells

SUBSETS = {"random": RANDOM, "most_expressed": MOST_EXPRESSED, "informative": INFORMATIVE}
VALUES = ("log1p_10k", "ranks", "bins")
ZERO_MODES = ("exclude", "include", "interleave")


@dataclass(frozen=True)
class Encoding:
    """How a cell becomes a sequence; without `training` nothing is random (thinning, panel, dropout, zeros, mask)."""

    length: int
    """Largest number of genes in a sequence; CLS positions, which the model adds, do not count."""
    shortest: int | None = None
    """Each training batch has a length of its own, log-uniform between this and `length`; None for `length` always."""
    subset: Literal["random", "most_expressed", "informative"] = "random"
    """Which genes a sequence keeps when the cell has more than fit: a random subset, for which inference takes the most
    expressed; these; or those with the largest log1p_10k × (1 − detection frequency in the training corpus)."""
    reduces: bool = False
    """Whether genes are left out of the input, as `wced.shards.input_genes.GeneChoice` says."""
    thinned: float = 0.0
    """Share of training cells whose molecules stay with one probability, log-uniform between `min_rate` and 1."""
    min_rate: float = 0.1
    """Smallest probability that a molecule of a thinned cell stays."""
    panelled: float = 0.0
    """Share of training cells whose input has the genes of a panel only, drawn from those of the `GeneChoice`."""
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
        if self.values not in VALUES or self.zeros not in ZERO_MODES or self.subset not in SUBSETS:
            raise ValueError(f"no such encoding: {self}")
        if self.mask + self.hide_genes > 1:
            raise ValueError(f"mask {self.mask} and hide_genes {self.hide_genes} are shares that add up to more than 1")

    @property
    def chooses(self) -> bool:
        """Whether it takes a `GeneChoice`."""
        return self.reduces or self.subset == "informative" or self.panelled > 0

    @property
    def unvaried(self) -> "Encoding":
        """The same without what makes training inputs differ in depth, panel and length: that of validations."""
        return replace(self, shortest=None, thinned=0.0, panelled=0.0)

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
    expressed: np.ndarray
    """int64, (n,): genes that each whole cell expresses."""
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
    choice: GeneChoice | None = None,
    view: int = 0,
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
        Whether anything is random. Without it a cell that has more genes than fit is represented by its most expressed
        or most informative ones, and nothing is thinned, cut to a panel, dropped, interleaved or masked.
    seed, epoch
        With a cell's soma_joinid, the seed of its streams.
    measured_d
        What `measured_counts` says of `measured_dv`, to spare counting for every batch.
    limits
        What `mask_limits` says of the encoding, where genes differ in how often they are chosen.
    choice
        What the model knows of the genes of its input; for an encoding that `chooses`.
    view
        Of several inputs of the same cells in the same epoch, which one: each has streams of its own.

    Returns
    -------
    Batch
        Padded to the longest sequence of the batch (to one position, where all cells are empty).
    """
    if encoding.chooses and choice is None:
        raise ValueError("this encoding chooses genes by what the corpus says of them; give it a GeneChoice")
    if encoding.panelled and training and not len(choice.panel_limits):
        raise ValueError("this encoding cuts inputs to panels, but the GeneChoice has none")
    n, cells, seed = len(cells), cells.views(), seed + (view << 40)
    zeros = ZERO_MODES.index(encoding.zeros)
    interleave = zeros == 2 and training
    lengths, zeros_n = np.empty(n, np.int64), np.empty(n, np.int64)
    dropped = round(encoding.dropout * UNIT)
    rest = _reduced(cells, measured_dv, encoding, choice, training, seed, epoch)
    available_n = rest.available_n
    if available_n is None:
        available_n = np.empty(0, np.int64)  # nobody asks
        if zeros:
            measured_d = measured_counts(measured_dv) if measured_d is None else measured_d
            available_n = measured_d[cells.dataset] - np.diff(cells.offsets)
    sequence_lengths(
        rest.offsets, cells.soma_joinid, available_n,
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
    subset = SUBSETS[encoding.subset]
    fill(
        cells.offsets, cells.gene_at, cells.count_at, rest.offsets, rest.gene_at, rest.count_at, rest.whole_at,
        cells.like, cells.soma_joinid, cells.dataset, measured_dv, available_n, NOTHING if choice is None else choice,
        expressed_room(encoding.length, interleave, encoding.nonzero_ratio),
        MOST_EXPRESSED if subset == RANDOM and not training else subset,
        VALUES.index(encoding.values), encoding.bins if encoding.values == "bins" else 0, dropped, rest.panel_n,
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
        expressed=np.diff(cells.offsets),
        target_offsets=cells.offsets if encoding.cell_target else None,
        dataset=cells.dataset,
        labels=cells.labels,
        numbers=cells.numbers,
        gene_state=None if cells.perturbed is None else gene_state,
        soma_joinid=cells.soma_joinid,
    )


NOTHING = GeneChoice(
    np.zeros(0, bool), np.zeros(0, np.float32), np.zeros((0, 0), bool), np.zeros(0), np.zeros(0, np.int64)
)
"""Stands for no choice of genes, in compiled code."""


@dataclass(frozen=True)
class _Rest:
    """What is left of cells for their input."""

    offsets: np.ndarray
    """int64, (n + 1,): where each cell's genes begin."""
    gene_at: np.ndarray
    """int64, (n,): address of each cell's vocabulary ids."""
    count_at: np.ndarray
    """int64, (n,): address of its counts."""
    whole_at: np.ndarray
    """int64, (n,): address of the same genes' counts before thinning."""
    panel_n: np.ndarray
    """int64, (n,): panel of each cell, −1 for none; empty where nothing is taken out."""
    available_n: np.ndarray | None
    """int64, (n,): genes that may stand in the input as zeros; None for those that the dataset measured."""
    memory: tuple[np.ndarray, ...] = ()
    """What the addresses point to."""


def _reduced(
    cells: CellViews,
    measured_dv: np.ndarray,
    encoding: Encoding,
    choice: GeneChoice | None,
    training: bool,
    seed: int,
    epoch: int,
) -> _Rest:
    thinned, panelled = (round(share * UNIT * training) for share in (encoding.thinned, encoding.panelled))
    if not (encoding.reduces or thinned or panelled):
        none = np.empty(0, np.int64)
        return _Rest(cells.offsets, cells.gene_at, cells.count_at, cells.count_at, none, None)
    if choice is None:  # thinning alone
        choice = NOTHING._replace(allowed_v=np.ones(measured_dv.shape[1], bool))
    n, size = len(cells), int(cells.offsets[-1]) + 1
    offsets, panel_n, available_n = np.empty(n + 1, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    made = arrays({"gene": ((size,), cells.like.dtype), "count": ((size,), np.uint32), "whole": ((size,), np.uint32)})
    reduce_cells(
        cells.offsets, cells.gene_at, cells.count_at, cells.like, cells.soma_joinid, cells.dataset, measured_dv, choice,
        thinned, np.log(encoding.min_rate), panelled, seed, epoch, encoding.zeros != "exclude",
        offsets, *made.values(), panel_n, available_n,
    )  # fmt: skip
    gene_at, count_at, whole_at = (array.ctypes.data + offsets[:-1] * array.itemsize for array in made.values())
    return _Rest(offsets, gene_at, count_at, whole_at, panel_n, available_n, tuple(made.values()))
