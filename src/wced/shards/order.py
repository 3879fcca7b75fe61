"""What an order needs: a source of cells, and the settings of their order."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from wced.shards.cells import CellViews, RaggedCells
from wced.shards.vocabulary import Labels, Vocabulary


class CellSource(Protocol):
    """Where batches take cells from: shards on disk (`ShardSet`), or a Census (`CensusCells`)."""

    vocabulary: Vocabulary
    """Genes."""
    labels: Labels
    """What is known of a cell besides its counts: classes of the label columns, for example."""
    label_columns: tuple[str, ...]
    """Names of the columns of a batch's `labels`."""
    number_columns: tuple[str, ...]
    """Names of the columns of a batch's `numbers`."""
    dataset_ids: list[str]
    """Datasets in the order of their codes."""
    measured_dv: np.ndarray
    """bool, datasets × genes: which genes each measured."""
    measured_d: np.ndarray
    """int64, (datasets,): how many genes each measured."""

    def __len__(self) -> int: ...

    def count(self, split: str) -> int:
        """Return how many cells of a split have any vocabulary gene; only these are ever used."""

    def places(self, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the places of those cells in [start, stop), ascending; int64."""

    def blocks(self, split: str, block_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds (places) of blocks that have `block_cells` of them, and how many each has."""

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return a column of `wced.shards.facts.fact_types` of cells by place; codes are -1 for unknown."""

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these cells; int64, (n + 1,)."""

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Return the raw counts of cells by place, in the order asked for."""

    def views(self, cells: np.ndarray) -> CellViews:
        """Return the same without a copy, where that can be."""


@dataclass(frozen=True)
class Order:
    """Strategy and sizes of an order."""

    strategy: Literal["sequential", "shuffled", "weighted", "round_robin"] = "shuffled"
    """`sequential`: as on disk. `shuffled`: each cell once an epoch. `weighted`: as many samples as there are cells,
    those of rare classes more often than those of frequent ones. `round_robin`: one cell of each class in turn; a class
    that is through begins again in another order."""
    columns: tuple[str, ...] = ("dataset",)
    """Columns (`dataset` or labels) of which `weighted` and `round_robin` balance the combinations: a class is one
    combination of their values, of which unknown is one."""
    power: float = 0.5
    """The weight of a cell of a class of n cells is proportional to n to the power of -`power` (`weighted`): 0 leaves
    frequencies as they are, 1 makes all classes equally frequent."""
    max_repeats: float = 10.0
    """Largest expected number of samples of a cell in an epoch (`weighted`)."""
    batches: Literal["mixed", "one_dataset"] = "mixed"
    """`mixed`: cells of all datasets together. `one_dataset`: the cells of a step, over all ranks, are of one dataset
    (`shuffled` and `weighted`)."""
    block_cells: int = 64
    """Cells of a block."""
    buffer_blocks: int = 512
    """Smallest number of blocks in a buffer, where there are as many."""
    epoch_cells: int | None = None
    """Cells of an epoch, which begins where the last one ended: several passes over the cells, or a part of one. None
    for one pass."""

    @property
    def advances(self) -> bool:
        """Whether each epoch has an order of its own."""
        return self.strategy != "sequential"
