"""Config of the gene-level analysis."""

from typing import Literal

from pydantic import Field, model_validator

from wced.config.base import Count, Natural, NonNegative, Positive, Section, Share


class Simulation(Section):
    """Planted winners that the analysis must find, with the sparsity and scatter of the run's own genes."""

    z: tuple[float, ...] = Field((2.5, 3.0, 4.0, 6.0), min_length=1)
    """Local standard deviations by which the errors of planted winners lie below the trend."""
    share: float = Field(0.05, gt=0, lt=0.5)
    """Share of the genes that are planted."""
    repeats: Count = 20
    """Simulated data sets of each Z."""


class Learnability(Section):
    """Which genes a model learns to predict (BMFM-RNA paper, sections 2.2, 9 and 10)."""

    min_nonzero: Count = 100
    """Non-zero validation values that a gene needs to be reliable."""
    min_zeros: Count = 20
    """Zero validation values that a gene needs for its detection AUC to count in medians; with one, it is 0 or 1."""
    top: Count = 20
    """Genes listed at either end of the first table."""
    tiers: tuple[float, float, float] = (0.20, 0.10, 0.05)
    """Smallest median improvement over the null of a family of tier 1, 2 and 3. The paper gives 20% and 5%; the bound
    between tiers 2 and 3 is unpublished and chosen here."""
    trend: Literal["isotonic", "lowess"] = "isotonic"
    """Fit of the log rescaled MAE expected at a zero fraction: isotonic regression, as in the paper, or LOWESS."""
    spread: Literal["windows", "lowess"] = "windows"
    """Estimate of the local standard deviation: in sliding windows (the paper's text) or by LOWESS of squared residuals
    (the caption of its figure)."""
    window: float = Field(0.1, gt=0, le=2)
    """Width of a sliding window, in zero fraction; the paper gives none."""
    window_genes: int = Field(20, ge=3)
    """Genes that a window needs; otherwise its gene gets no Z and is counted. Windows are never widened."""
    lowess_fraction: float = Field(0.2, gt=0, le=1)
    """Share of the genes that a LOWESS estimate uses."""
    z: Positive = 2.0
    """A winner's Z is below minus this, a loser's above it."""
    practical: NonNegative = 0.10
    """By how much a winner's (loser's) error must also be below (above) the trend."""
    practical_scale: Literal["relative", "absolute"] = "relative"
    """Unit of `practical`: share of the expected error, or rescaled MAE. The paper's "10% in absolute terms" can mean
    either."""
    sparse: Share = 0.5
    """Genes with a larger zero fraction are the sparse regime."""
    min_group: Count = 3
    """Reliable genes that a family or program needs for its median, odds ratio or test."""
    convergence: Positive = 0.05
    """A family has converged once its median stays within this share of the last epoch's."""
    bootstraps: int = Field(200, ge=20)
    """Samples of validation blocks for the intervals."""
    min_blocks: int = Field(8, ge=2)
    """Validation blocks that an interval needs."""
    permutations: int = Field(1000, ge=100)
    """Shuffles of the labels of programs and families for the permutation test."""
    named: Natural = 12
    """Genes named in the figure of two models."""
    simulation: Simulation = Simulation()
    """Planted winners."""

    @model_validator(mode="after")
    def _check_tiers(self) -> "Learnability":
        if list(self.tiers) != sorted(self.tiers, reverse=True):
            raise ValueError("tiers: the bounds must descend")
        return self
