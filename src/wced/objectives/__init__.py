"""Losses, each of them a `Term`: a total and what it is divided by.

A module named as a key of a checkpoint's section makes the losses of that key (`wced`, `mlm`) by two functions:
`weights(section)` returns the full weight of each loss by its name in metrics.tsv, `terms(section, batch, output)` the
losses of a batch by the same names. Losses of label heads (`labels`, `hierarchical`) and of two views of a cell
(`contrast`) are classes, because they keep something of the corpus.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from wced.objectives.hierarchical import LeafTargets
from wced.objectives.term import Term, weighted_mean

__all__ = ["LeafTargets", "Term", "objective", "weighted_mean"]


def objective(key: str) -> ModuleType | None:
    """Return the module that makes the losses of a key of a checkpoint's section; None for all other keys."""
    if find_spec(f"{__name__}.{key}") is None:
        return None
    module = import_module(f"{__name__}.{key}")
    return module if hasattr(module, "terms") else None
