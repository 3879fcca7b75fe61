"""Embeddings without a pretrained network, which every table shows beside the models.

A baseline is a module of this package, named as in the config, with a function `embed` from `Cells` to `Embedded`. All
but `corpus_pca` are fitted on the cells that they embed, without their labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
from anndata import AnnData

from wced.config.embedding import Baseline, Embedding
from wced.embedding.files import OWN
from wced.errors import WcedError

LEAKAGE = "fitted on these cells, unlabelled"
"""What a baseline has seen of the cells that it embeds."""

LEAKAGE_BATCH = "fitted on these cells and their batches, unlabelled"
"""The same of a baseline that reads their batches."""


@dataclass(frozen=True)
class Cells:
    """What a baseline may use."""

    adata: AnnData
    """Raw counts as X, cells × genes, indexed by Ensembl id; the technical batch as `obs.batch`."""
    settings: Embedding
    """The section of the config."""
    seed: int
    """Seed of everything random."""
    corpus: Path | None = None
    """Principal components of the corpus, which `corpus_pca` needs."""

    @property
    def single_batch(self) -> bool:
        """Whether all cells are of one batch."""
        return self.adata.obs["batch"].nunique() < 2

    def leakage(self, *notes: str, batches: bool = False) -> str:
        """Return what a baseline has seen that is fitted on these cells and, with `batches`, on their batches."""
        seen = LEAKAGE_BATCH if batches and not self.single_batch else LEAKAGE
        expressed = int((self.adata.X.sum(axis=0) > 0).sum())
        few = () if expressed >= self.settings.n_top_genes else (f"all {expressed} expressed genes",)
        return "; ".join([seen, *notes, *few])


@dataclass(frozen=True)
class Embedded:
    """Cells embedded by a baseline."""

    embedding_nd: np.ndarray
    """Cells × dimensions, float32."""
    leakage: str | None = LEAKAGE
    """What it has seen of these cells; None if it was fitted on the corpus: then the leakage table says it."""
    n_params: int = 0
    """Weights of a network, or loadings fitted on the corpus."""
    space: str = OWN
    """`OWN`, or `COMMON` if its dimensions mean the same in every dataset (`wced.embedding.files`)."""


def baseline(name: str) -> Callable[[Cells], Embedded]:
    """Return the function of a baseline; raise WcedError if the config knows no such name."""
    if name not in get_args(Baseline):
        raise WcedError(f"--model {name}: a baseline is one of {', '.join(get_args(Baseline))}")
    return import_module(f"{__name__}.{name}").embed
