"""Which genes may be in the input of a model, and how much each tells: facts of the corpus, kept by the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from wced.config.pretraining import Input
from wced.errors import WcedError
from wced.files import whole_file
from wced.shards.vocabulary import Vocabulary
from wced.tables import read_text

FREQUENCY = "detection_frequency"
"""Column of the file; those behind it are the gene groups."""


@dataclass(frozen=True)
class InputGenes:
    """What the training corpus says of each gene of the vocabulary; written beside the weights as `input_genes.tsv`."""

    frequency_v: np.ndarray
    """float64, (genes,): share of the training cells that express it, of those whose dataset measured it; 0 for a gene
    that none measured."""
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    """bool, (genes,), by name: the genes of each group that the input leaves out or panels lack."""

    def members(self, names: Sequence[str]) -> np.ndarray:
        """Return which genes belong to any of some groups; bool, (genes,)."""
        member_v = np.zeros(len(self.frequency_v), bool)
        for name in names:
            if name not in self.groups:
                raise WcedError(f"gene group {name}: the model holds {', '.join(self.groups) or 'no gene group'}")
            member_v |= self.groups[name]
        return member_v

    @property
    def information_v(self) -> np.ndarray:
        """float32, (genes,): 1 − frequency; 0 for a gene that no training cell expresses: nothing was learned of it."""
        return np.where(self.frequency_v > 0, 1 - self.frequency_v, 0).astype(np.float32)

    def write(self, path: str | Path, vocabulary: Vocabulary) -> None:
        """Write `input_genes.tsv`: gene_id, symbol, detection_frequency, and 0 or 1 for each group."""
        columns = {"gene_id": vocabulary.gene_ids, "symbol": vocabulary.symbols, FREQUENCY: self.frequency_v}
        columns |= {name: member_v.astype(int) for name, member_v in self.groups.items()}
        with whole_file(path) as temporary:
            pd.DataFrame(columns).to_csv(temporary, sep="\t", index=False)

    @classmethod
    def read(cls, path: str | Path, vocabulary: Vocabulary) -> "InputGenes":
        """Read `input_genes.tsv`; raise WcedError if it is something else, or of another vocabulary."""
        frame = read_text(path, "the input genes of a model")
        head, names = ["gene_id", "symbol", FREQUENCY], list(frame.columns[3:])
        if list(frame.columns[:3]) != head:
            raise WcedError(f"{path}: not the input genes of a model: its first columns are not {', '.join(head)}")
        if tuple(frame["gene_id"]) != vocabulary.gene_ids:
            raise WcedError(f"{path}: not of the vocabulary that the model was trained with")
        try:
            frequency_v = frame[FREQUENCY].to_numpy(object).astype(np.float64)  # exact to the last bit
        except ValueError:
            frequency_v = np.full(len(frame), np.nan)
        if not ((frequency_v >= 0) & (frequency_v <= 1)).all() or not frame[names].isin(["0", "1"]).all(axis=None):
            raise WcedError(f"{path}: {FREQUENCY} is a share between 0 and 1, and a gene group has 0 or 1")
        return cls(frequency_v, {name: (frame[name] == "1").to_numpy() for name in names})


class GeneChoice(NamedTuple):
    """`InputGenes` and what the config section `input` makes of them, as arrays for compiled code."""

    allowed_v: np.ndarray
    """bool, (genes,): genes that are not left out."""
    information_v: np.ndarray
    """float32, (genes,): how much a gene tells."""
    panel_pv: np.ndarray
    """bool, panels × genes: panels known in advance."""
    panel_limits: np.ndarray
    """float64, (panels + sizes,): cumulative probabilities of the known panels, then of random ones by size."""
    size_limits: np.ndarray
    """int64, (sizes,): a gene is in a random panel if its number in [0, 2^32) is below."""


def gene_choice(genes: InputGenes, measured_dv: np.ndarray, section: Input) -> GeneChoice:
    """Return which genes a section leaves out, and which panels it cuts inputs to.

    `measured_dv` is bool, datasets × genes: which genes each dataset measured. A panel is what a random dataset
    measured, all genes but those of a group, or a random set of about so many genes; these kinds (each group and each
    size is one) are equally likely.
    """
    panels, n_genes = section.panels, len(genes.frequency_v)
    if measured_dv.shape[1] != n_genes:
        raise ValueError(f"input genes of {n_genes} genes, but the cells have {measured_dv.shape[1]}")
    known = [measured_dv] if panels.datasets else []
    known += [~genes.members([name])[None] for name in panels.groups]
    kinds = max(int(panels.datasets) + len(panels.groups) + len(panels.sizes), 1)
    probabilities = [1 / (kinds * len(measured_dv))] * len(measured_dv) if panels.datasets else []
    probabilities += [1 / kinds] * (len(panels.groups) + len(panels.sizes))
    return GeneChoice(
        ~genes.members(section.leave_out),
        genes.information_v,
        np.concatenate(known) if known else np.zeros((0, n_genes), bool),
        np.cumsum(probabilities),
        np.array([round(min(size / n_genes, 1) * 2**32) for size in panels.sizes], np.int64),
    )
