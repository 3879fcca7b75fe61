"""Turn raw counts into the sequences a model reads and the targets it must predict, in compiled code.

Two passes over the cells of a batch: the first measures the sequences, so that arrays are no larger than needed, the
second fills them. Both use the same random numbers (`wced.shards.counter_random`).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from wced.config.pretraining import Input, Masked, Panels, Thinning
from wced.shards.cells import CellViews, RaggedCells
from wced.shards.counter_random import UNIT
from wced.shards.input_genes import GeneChoice
from wced.shards.kernels import (
    INFORMATIVE,
    MOST_EXPRESSED,
    RANDOM,
    expressed_room,
    fill,
    mark_perturbed,
    sequence_lengths,
)
from wced.shards.memory import arrays
from wced.shards.reduction import reduce_cells

SUBSETS = {"random": RANDOM, "most_expressed": MOST_EXPRESSED, "informative": INFORMATIVE}
VALUES = ("log1p_10k", "ranks", "bins")
ZERO_MODES = ("exclude", "include", "interleave")


@dataclass(frozen=True)
class Encoding:
    """How a cell becomes a sequence, and what is predicted; without `training` nothing of it is random."""

    input: Input
    """Config section `input`."""
    mlm: Masked | None = None
    """Config section `mlm`: which positions are hidden; None for no masked language modelling."""
    cell_target: bool = True
    """Whether a batch has the values of all expressed genes as a flat target."""

    @property
    def chooses(self) -> bool:
        """Whether it needs a `GeneChoice`."""
        return bool(self.input.leave_out) or self.input.subset == "informative" or self.input.panels.share > 0

    @property
    def unvaried(self) -> "Encoding":
        """The same without what makes training inputs differ in depth, panel and length: that of validations."""
        plain = {"min_length": None, "thinning": Thinning(), "panels": Panels()}
        return replace(self, input=self.input.model_copy(update=plain))

    @property
    def unmasked(self) -> "Encoding":
        """The same for inputs alone: without masks and targets."""
        return replace(self, mlm=None, cell_target=False)

    @cached_property
    def limits(self) -> np.ndarray:
        """`mask_limits` where all genes are chosen equally often."""
        return mask_limits(self.mlm, self.mlm.select) if self.mlm else np.zeros((2, 1), np.int32)


@dataclass(frozen=True)
class Batch:
    """A finished batch as arrays: n cells, l positions, t expressed genes in all. What is not asked for is None.

    The last four fields are those of `RaggedCells`.
    """

    gene: np.ndarray
    """int32, (n, l): vocabulary ids, those of expressed genes ascending; 0 at padding."""
    value: np.ndarray
    """float32, (n, l): `input.values`; log1p_10k is over the genes that survive dropout; 0 at zeros and padding."""
    length: np.ndarray
    """int64, (n,): positions of each sequence; the rest is padding."""
    masked: np.ndarray | None
    """bool, (n, l): positions whose value the model must not see, in training with `mlm`."""
    gene_masked: np.ndarray | None
    """bool, (n, l): positions whose gene the model must not see (`gene` has it as the target), with `hide_genes`."""
    position_target: np.ndarray | None
    """float32, (n, l): log1p_10k over the whole cell at every position, with `mlm`."""
    expressed: np.ndarray
    """int64, (n,): genes that each whole cell expresses."""
    target_offsets: np.ndarray | None
    """int64, (n + 1,): where each cell's expressed genes begin in the flat targets."""
    target_gene: np.ndarray | None
    """int32, (t,): vocabulary ids of all expressed genes, also those that the input lacks."""
    target_value: np.ndarray | None
    """float32, (t,): their log1p_10k over the whole cell."""
    gene_state: np.ndarray | None
    """int8, (n, l): 1 where the gene was perturbed in the cell, else 0; where the source records perturbations."""
    soma_joinid: np.ndarray
    dataset: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray | None


def measured_counts(measured_dv: np.ndarray) -> np.ndarray:
    """Return how many genes each dataset measured; int64, (datasets,)."""
    return np.count_nonzero(measured_dv, axis=1).astype(np.int64)


def mask_limits(section: Masked, chosen: float | np.ndarray) -> np.ndarray:
    """Return the limits below which a position's random number hides its value, or else its gene.

    `chosen` is the probability that a position is chosen; or (genes,), that of the positions that hold each gene.
    The result is int32, (2, 1 or genes), for numbers in [0, UNIT).
    """
    shares = np.array([section.mask, section.mask + section.hide_genes])
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
) -> Batch:
    """Return the batch of some cells, padded to its longest sequence (to one position, if all cells are empty).

    Parameters
    ----------
    cells, encoding
        Raw counts of n cells, and how they become sequences.
    measured_dv, measured_d
        bool, datasets × genes: genes that a dataset never measured are not sampled as zeros; and `measured_counts` of
        it, to save counting in every batch.
    training
        Whether anything is random. Without it a cell that has more genes than fit is represented by its most expressed
        or most informative ones, and nothing is thinned, cut to a panel, dropped, interleaved or masked.
    seed, epoch
        With a cell's soma_joinid, the seed of its random numbers.
    limits
        `mask_limits` of the encoding, where genes are not chosen equally often.
    choice
        What the model knows of the genes of its input; for an encoding that `chooses`.
    """
    section = encoding.input
    if encoding.chooses and choice is None:
        raise ValueError("this encoding chooses genes by what the corpus says of them; give it a GeneChoice")
    if section.panels.share and training and not len(choice.panel_limits):
        raise ValueError("this encoding cuts inputs to panels, but the GeneChoice has none")
    n, cells, zeros = len(cells), cells.views(), ZERO_MODES.index(section.zeros)
    measured_d = measured_counts(measured_dv) if measured_d is None else measured_d
    rest, whole_at, panel_n, available_n = _reduced(
        cells, measured_dv, measured_d, section, choice, training, seed, epoch
    )
    lengths, zeros_n, dropped = np.empty(n, np.int64), np.empty(n, np.int64), round(section.dropout * UNIT)
    sequence_lengths(
        rest.offsets, cells.soma_joinid, available_n,
        section.length, zeros, section.nonzero_ratio, round(section.nonzero_only * UNIT), dropped, training,
        seed, epoch, lengths, zeros_n,
    )  # fmt: skip
    mlm, cell_target, shape = encoding.mlm, encoding.cell_target, (n, int(lengths.max(initial=1)))
    flat = (int(cells.offsets[-1]),)
    layout = {  # whether an array is used, its shape and its type
        "gene": (True, shape, np.int32),
        "value": (True, shape, np.float32),
        "masked": (training and mlm is not None, shape, np.bool_),
        "gene_masked": (training and mlm is not None and mlm.hide_genes > 0, shape, np.bool_),
        "position_target": (mlm is not None, shape, np.float32),
        "target_gene": (cell_target, flat, np.int32),
        "target_value": (cell_target, flat, np.float32),
        "gene_state": (cells.perturbed is not None, shape, np.int8),
    }
    filled = arrays({name: (size if used else (0,) * len(size), kind) for name, (used, size, kind) in layout.items()})
    *by_fill, gene_state = filled.values()
    subset = MOST_EXPRESSED if section.subset == "random" and not training else SUBSETS[section.subset]
    fill(
        cells.offsets, cells.gene_at, cells.count_at, rest.offsets, rest.gene_at, rest.count_at, whole_at,
        cells.like, cells.soma_joinid, cells.dataset, measured_dv, available_n, NO_CHOICE if choice is None else choice,
        expressed_room(section.length, zeros == 2 and training, section.nonzero_ratio), subset,
        VALUES.index(section.values), section.bins if section.values == "bins" else 0, dropped, panel_n,
        encoding.limits if limits is None else limits, training, seed, epoch, lengths, zeros_n, *by_fill,
    )  # fmt: skip
    if cells.perturbed is not None:
        mark_perturbed(filled["gene"], lengths, cells.perturbed, gene_state)
    return Batch(
        **{name: array if layout[name][0] else None for name, array in filled.items()},
        length=lengths,
        expressed=np.diff(cells.offsets),
        target_offsets=cells.offsets if cell_target else None,
        soma_joinid=cells.soma_joinid,
        dataset=cells.dataset,
        labels=cells.labels,
        numbers=cells.numbers,
    )


NO_CHOICE = GeneChoice(
    np.zeros(0, bool), np.zeros(0, np.float32), np.zeros((0, 0), bool), np.zeros(0), np.zeros(0, np.int64)
)


def _reduced(
    cells: CellViews,
    measured_dv: np.ndarray,
    measured_d: np.ndarray,
    section: Input,
    choice: GeneChoice | None,
    training: bool,
    seed: int,
    epoch: int,
) -> tuple[CellViews, np.ndarray, np.ndarray, np.ndarray]:
    """Return what is left of cells for their input, the address of each cell's `whole`, `panel_n` and `available`.

    See `reduce_cells`; `panel_n` is empty where nothing is removed.
    """
    thinned, panelled = (round(share * UNIT * training) for share in (section.thinning.share, section.panels.share))
    if not (section.leave_out or thinned or panelled):
        unused = np.empty(0, np.int64)
        zeros = unused if section.zeros == "exclude" else measured_d[cells.dataset] - np.diff(cells.offsets)
        return cells, cells.count_at, unused, zeros
    if choice is None:  # thinning alone
        choice = NO_CHOICE._replace(allowed_v=np.ones(measured_dv.shape[1], bool))
    n, size = len(cells), int(cells.offsets[-1]) + 1
    offsets, panel_n, available_n = np.empty(n + 1, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    flat = arrays({"gene": ((size,), cells.like.dtype), "count": ((size,), np.uint32), "whole": ((size,), np.uint32)})
    reduce_cells(
        cells.offsets, cells.gene_at, cells.count_at, cells.like, cells.soma_joinid, cells.dataset, measured_dv, choice,
        thinned, np.log(section.thinning.min_rate), panelled, seed, epoch, section.zeros != "exclude",
        offsets, *flat.values(), panel_n, available_n,
    )  # fmt: skip
    gene_at, count_at, whole_at = (array.ctypes.data + offsets[:-1] * array.itemsize for array in flat.values())
    return (
        replace(cells, offsets=offsets, gene_at=gene_at, count_at=count_at, owner=flat),
        whole_at,
        panel_n,
        available_n,
    )
