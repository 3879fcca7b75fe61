"""Config of the gene-level analysis."""

from typing import Literal

from pydantic import Field, model_validator

from wced.config.base import Section


class Simulation(Section):
    """Planted winners that the analysis must find again, on the sparsity and scatter of the run's own genes."""

    z: tuple[float, ...] = Field((2.5, 3.0, 4.0, 6.0), min_length=1)
    """How many local standard deviations below the trend the errors of planted winners lie."""
    share: float = Field(0.05, gt=0, lt=0.5)
    """Share of the genes that are planted."""
    repeats: int = Field(20, ge=1)
    """Simulated data sets of each Z."""


class Learnability(Section):
    """Which genes a model learns to predict (BMFM-RNA paper, sections 2.2, 9 and 10)."""

    min_nonzero: int = Field(100, ge=1)
    """Non-zero validation values that a gene needs to be called reliable."""
    min_zeros: int = Field(20, ge=1)
    """Zero validation values that a gene's detection AUC needs to count in medians: of one zero, it is 0 or 1."""
    top: int = Field(20, ge=1)
    """Genes listed at either end of the first table."""
    tiers: tuple[float, float, float] = (0.20, 0.10, 0.05)
    """Smallest median improvement over the null of a family of tier 1, 2 and 3. The paper gives 20% and 5%; the bound
    between tiers 2 and 3 is not published and chosen here."""
    trend: Literal["isotonic", "lowess"] = "isotonic"
    """How the log rescaled MAE that a zero fraction lets expect is estimated: isotonic regression, as in the paper, or
    LOWESS."""
    spread: Literal["windows", "lowess"] = "windows"
    """How the local standard deviation is estimated: in sliding windows (the paper's text) or by LOWESS of squared
    residuals (the caption of its figure)."""
    window: float = Field(0.1, gt=0, le=2)
    """Width of a sliding window, in zero fraction. The paper gives none."""
    window_genes: int = Field(20, ge=3)
    """Genes that a window needs; a gene whose window has fewer gets no Z and is counted. Windows are never widened."""
    lowess_fraction: float = Field(0.2, gt=0, le=1)
    """Share of the genes that a LOWESS estimate looks at."""
    z: float = Field(2.0, gt=0)
    """A winner's Z is below minus this, a loser's above it."""
    practical: float = Field(0.10, ge=0)
    """By how much a winner's (loser's) error must also lie below (above) the trend."""
    practical_scale: Literal["relative", "absolute"] = "relative"
    """Unit of `practical`: share of the error that the trend expects, or rescaled MAE. The paper's "10% in absolute
    terms" can be read as either."""
    sparse: float = Field(0.5, ge=0, le=1)
    """Genes with a larger zero fraction are the sparse regime."""
    min_group: int = Field(3, ge=1)
    """Reliable genes that a family or program needs for its median, odds ratio or test."""
    convergence: float = Field(0.05, gt=0)
    """A family has converged from the epoch on where its median stays within this share of the last epoch's."""
    bootstraps: int = Field(200, ge=20)
    """Draws of validation blocks behind the intervals."""
    min_blocks: int = Field(8, ge=2)
    """Validation blocks that an interval needs."""
    permutations: int = Field(1000, ge=100)
    """Shuffles of the programs' and families' labels behind the permutation test."""
    named: int = Field(12, ge=0)
    """Genes named in the figure of two models."""
    simulation: Simulation = Simulation()
    """Planted winners."""

    @model_validator(mode="after")
    def _tiers_descend(self) -> "Learnability":
        if list(self.tiers) != sorted(self.tiers, reverse=True):
            raise ValueError("tiers: the bounds must descend")
        return self
