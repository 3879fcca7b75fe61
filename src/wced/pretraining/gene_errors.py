"""Errors of every gene, streamed over a validation epoch in memory that does not grow with its cells."""

import numpy as np
import pandas as pd
import torch
from torch import nn

from wced.pretraining.gene_statistics import Nonzero
from wced.shards.vocabulary import Vocabulary

BINS = 1024
RANGE = 16.0
"""Detection logits are counted in 1,024 bins from −16 to 16. Ties within a bin of 1/32 draw the AUC towards 0.5: by
under 0.001 where a gene's logits spread over 0.2 (standard deviation), by about 0.007 where over 0.05."""


class GeneErrors(nn.Module):
    """Sums from which a gene's detection AUC and non-zero MAE follow; buffers, so that they move with the model."""

    def __init__(self, vocabulary_size: int) -> None:
        """Start with empty sums for G genes."""
        super().__init__()
        self.register_buffer("histogram_ygb", torch.zeros(2, vocabulary_size, BINS), persistent=False)
        self.register_buffer("gated_g", torch.zeros(vocabulary_size, dtype=torch.float64), persistent=False)
        self.register_buffer("ungated_g", torch.zeros(vocabulary_size, dtype=torch.float64), persistent=False)

    def reset(self) -> None:
        """Forget everything, for a new epoch."""
        for sums in self.buffers():
            sums.zero_()

    @torch.no_grad()
    def update(
        self, gene_m: torch.Tensor, logit_m: torch.Tensor, value_m: torch.Tensor, target_m: torch.Tensor
    ) -> None:
        """Add predictions.

        Parameters
        ----------
        gene_m
            Integers, (m,): vocabulary id.
        logit_m, value_m
            (m,): detection logit and predicted log1p_10k.
        target_m
            (m,): true log1p_10k, 0 where not expressed.
        """
        gene_m, logit_m, value_m = gene_m.long(), logit_m.float(), value_m.float()
        expressed = target_m > 0
        place = ((logit_m + RANGE) * (BINS / (2 * RANGE))).long().clamp(0, BINS - 1)
        flat = (expressed.long() * self.histogram_ygb.shape[1] + gene_m) * BINS + place
        self.histogram_ygb.view(-1).scatter_add_(0, flat, torch.ones_like(logit_m))
        gene, value, target = gene_m[expressed], value_m[expressed], target_m[expressed]
        gated = torch.where(logit_m[expressed] > 0, value, 0.0)
        self.gated_g.scatter_add_(0, gene, (gated - target).abs().double())
        self.ungated_g.scatter_add_(0, gene, (value - target).abs().double())

    def table(
        self, checkpoint: str, epoch: int, vocabulary: Vocabulary, zero_fraction: np.ndarray, null: Nonzero
    ) -> pd.DataFrame:
        """Return the rows of `tables.GENE_ERRORS` of this epoch, for genes that were predicted at least once.

        Parameters
        ----------
        checkpoint, epoch
            What the rows belong to; epochs count from 1.
        vocabulary
            Genes.
        zero_fraction
            (G,): share of the validation cells that do not express each gene, where it was measured.
        null
            Of the very values that the model was scored on. With masked positions these are a sample, in which
            strongly expressed cells may be over-represented; a null of all cells would then be unfair.
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for sums in self.buffers():
                torch.distributed.all_reduce(sums)
        n_zero, n_nonzero = self.histogram_ygb.sum(dim=2, dtype=torch.float64).cpu().numpy()
        some = self.histogram_ygb.split(2048, dim=1)  # genes at a time, because double precision takes memory
        auc = np.concatenate([auc_of_histograms(*part.double().cpu().numpy()) for part in some])
        with np.errstate(invalid="ignore", divide="ignore"):
            mae = self.gated_g.cpu().numpy() / n_nonzero
            frame = pd.DataFrame(
                {
                    "checkpoint": checkpoint,
                    "epoch": epoch,
                    "gene_id": vocabulary.gene_ids,
                    "gene_symbol": vocabulary.symbols,
                    "n": (n_zero + n_nonzero).astype(np.int64),
                    "n_nonzero": n_nonzero.astype(np.int64),
                    "zero_fraction": zero_fraction,
                    "mean_nonzero": null.mean,
                    "detection_auc": auc,
                    "nonzero_mae": mae,
                    "nonzero_mae_ungated": self.ungated_g.cpu().numpy() / n_nonzero,
                    "null_mae": null.null_mae,
                    "rescaled_mae": mae / null.mean,
                    "rescaled_null_mae": null.null_mae / null.mean,
                }
            )
        return frame[frame["n"] > 0].reset_index(drop=True)


def auc_of_histograms(negative_gb: np.ndarray, positive_gb: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each row: P(positive > negative) + P(tie) / 2 (Hanley & McNeil 1982).

    Parameters
    ----------
    negative_gb, positive_gb
        Counts of scores per bin, bins ascending; genes × bins.

    Returns
    -------
    numpy.ndarray
        (genes,), NaN where a gene has no negatives or no positives.
    """
    below_gb = np.cumsum(negative_gb, axis=1) - negative_gb
    wins = (positive_gb * (below_gb + negative_gb / 2)).sum(axis=1)
    pairs = negative_gb.sum(axis=1) * positive_gb.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return wins / pairs
