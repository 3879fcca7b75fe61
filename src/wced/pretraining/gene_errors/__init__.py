"""Errors of every gene, streamed over a validation epoch in memory that does not grow with its cells.

Of each validation block (`gene_blocks`) and gene: the summed absolute errors where the gene is expressed, and the
summed expected values; of each gene: histograms of its detection logits (`gene_histograms`). With 256 blocks and
19,000 genes that is 117 MB of sums in float64 and 78 MB of counts, on the CPU 20 MB more.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from wced.model import WcedOutput
from wced.pretraining.gene_errors import kernels
from wced.pretraining.gene_errors.blocks import PARTS, Blocks, part_of
from wced.pretraining.gene_errors.histograms import DetectionHistograms, over_genes
from wced.shards.batches import TensorBatch

WAITING = 512
"""Cells whose logits are counted together on the CPU (more where a batch has more)."""


@dataclass(frozen=True)
class ErrorSums:
    """What an epoch's predictions add up to, over all ranks; blocks × genes, float64, or by gene."""

    errors_bgs: np.ndarray
    """Blocks × genes × 2: the sums of |v·[z > 0] − x| and of |v − x| where the gene is expressed, with the predicted
    value v, the logit z, and the true value x (log1p_10k)."""
    expected_bg: np.ndarray
    """Sum of σ(z)·v over all predictions, also where the gene is not expressed: what the model expects Σx to be."""
    n_g: np.ndarray
    """int64: predictions."""
    n_nonzero_g: np.ndarray
    """int64: those where the gene is expressed."""
    auc_g: np.ndarray
    """float64: area under the ROC curve of z for being expressed; NaN where all or none are."""

    @cached_property
    def nonzero_mae_g(self) -> np.ndarray:
        """Mean absolute gated error where expressed; NaN for a gene that nothing expresses."""
        with np.errstate(invalid="ignore"):
            return self.errors_bgs[:, :, 0].sum(axis=0) / self.n_nonzero_g

    @cached_property
    def nonzero_mae_ungated_g(self) -> np.ndarray:
        """The same of the ungated error."""
        with np.errstate(invalid="ignore"):
            return self.errors_bgs[:, :, 1].sum(axis=0) / self.n_nonzero_g


class GeneErrors(nn.Module):
    """Sums of one decoder's predictions; buffers, so that they move with the model. Each rank has its own."""

    def __init__(self, vocabulary_size: int, blocks: Blocks) -> None:
        """Start with empty sums for G genes and the blocks of the validation split."""
        super().__init__()
        self.register_buffer("slot_d", torch.from_numpy(blocks.slot_d), persistent=False)
        shape = len(blocks), vocabulary_size
        self.register_buffer("errors_bgs", torch.zeros(*shape, 2, dtype=torch.float64), persistent=False)
        self.register_buffer("expected_bg", torch.zeros(shape, dtype=torch.float64), persistent=False)
        self.histograms = DetectionHistograms(vocabulary_size)
        self._waiting_cg = np.empty((0, vocabulary_size), np.int16)
        self._waiting = 0
        self._sums: ErrorSums | None = None

    def reset(self) -> None:
        """Forget everything, for a new epoch."""
        self.errors_bgs.zero_()
        self.expected_bg.zero_()
        self.histograms.reset()
        self._waiting, self._sums = 0, None

    def _blocks(self, batch: TensorBatch) -> torch.Tensor:
        return PARTS * self.slot_d[batch["dataset"].long()] + part_of(batch["soma_joinid"])

    @torch.no_grad()
    def update_cells(self, batch: TensorBatch, output: WcedOutput, measured_ng: torch.Tensor) -> None:
        """Add the whole-cell predictions of a batch.

        Parameters
        ----------
        batch
            `dataset` and `soma_joinid` of its cells; (t,) `target_row`, `target_gene` and `target_value`: cell,
            vocabulary id and log1p_10k of every expressed gene, cell after cell; and (n + 1,) `target_offsets`, where
            those of each cell begin.
        output
            `detection_logits` and `values` of cells × genes.
        measured_ng
            bool, cells × genes: False where the cell's dataset never measured the gene, which then does not count.
        """
        logit_ng, value_ng = (x.float().contiguous() for x in (output.detection_logits, output.values))
        expected_ng = torch.sigmoid(logit_ng).mul_(value_ng)
        block_n = self._blocks(batch)
        if logit_ng.device.type == "cpu":
            self._add_compiled(batch, logit_ng, value_ng, expected_ng, block_n, measured_ng)
        else:
            self._add_cells(batch, logit_ng, value_ng, expected_ng, block_n, measured_ng)

    def _add_cells(
        self,
        batch: TensorBatch,
        logit_ng: torch.Tensor,
        value_ng: torch.Tensor,
        expected_ng: torch.Tensor,
        block_n: torch.Tensor,
        measured_ng: torch.Tensor,
    ) -> None:
        """Add dense predictions with operations of torch alone."""
        row_t, gene_t = batch["target_row"], batch["target_gene"].long()
        self.expected_bg.index_add_(0, block_n, expected_ng.where(measured_ng, 0.0).double())
        self._add_errors(
            gene_t, logit_ng[row_t, gene_t], value_ng[row_t, gene_t], batch["target_value"], block_n[row_t]
        )
        expressed_ng = torch.zeros_like(measured_ng)
        expressed_ng[row_t, gene_t] = True
        self.histograms.add_cells(logit_ng, expressed_ng, measured_ng)

    def _add_compiled(
        self,
        batch: TensorBatch,
        logit_ng: torch.Tensor,
        value_ng: torch.Tensor,
        expected_ng: torch.Tensor,
        block_n: torch.Tensor,
        measured_ng: torch.Tensor,
    ) -> None:
        """Add dense predictions in compiled code; their logits wait to be counted."""
        n = len(logit_ng)
        if self._waiting + n > len(self._waiting_cg):
            self._count_waiting()
            if n > len(self._waiting_cg):
                self._waiting_cg = np.empty((max(n, WAITING), logit_ng.shape[1]), np.int16)
        logits, values, expected, measured, blocks = (
            x.numpy() for x in (logit_ng, value_ng, expected_ng, measured_ng, block_n)
        )
        targets = [batch[name].numpy() for name in ("target_offsets", "target_gene", "target_value")]
        to = blocks, np.argsort(blocks), self._waiting_cg, self._waiting
        expected_bg, errors_bgs = self.expected_bg.numpy(), self.errors_bgs.numpy()

        def work(start: int, stop: int) -> None:
            kernels.add_cells(logits, expected, measured, *to, expected_bg, start, stop)
            kernels.add_targets(logits, values, *targets, *to, errors_bgs, start, stop)

        over_genes(work, logit_ng.shape[1])
        self._waiting += n

    def _count_waiting(self) -> None:
        counts = self.histograms
        to = counts.low_g.numpy(), counts.high_g.numpy(), counts.count_gyb.numpy()
        waiting = self._waiting_cg, self._waiting
        over_genes(lambda start, stop: kernels.count_waiting(*waiting, *to, start, stop), len(to[0]))
        self._waiting = 0

    @torch.no_grad()
    def update_positions(self, batch: TensorBatch, output: WcedOutput) -> None:
        """Add the predictions at the m masked positions of a batch.

        Parameters
        ----------
        batch
            `dataset` and `soma_joinid` of its n cells, `gene` and `position_target` (log1p_10k) of (n, l) positions,
            and `masked_at` (m,): the masked ones in the flattened (n, l).
        output
            `position_logits` and `position_values`, (m,).
        """
        at_m = batch["masked_at"]
        gene_m, target_m = batch["gene"].flatten()[at_m].long(), batch["position_target"].flatten()[at_m]
        block_m = self._blocks(batch)[at_m // batch["gene"].shape[1]]
        logit_m, value_m = output.position_logits.float(), output.position_values.float()
        expressed_m = target_m > 0
        place_m = block_m * self.expected_bg.shape[1] + gene_m
        self.expected_bg.view(-1).index_add_(0, place_m, (torch.sigmoid(logit_m) * value_m).double())
        self._add_errors(gene_m, logit_m, value_m, target_m, block_m)
        self.histograms.add_positions(gene_m, logit_m, expressed_m)

    def _add_errors(
        self,
        gene_m: torch.Tensor,
        logit_m: torch.Tensor,
        value_m: torch.Tensor,
        target_m: torch.Tensor,
        block_m: torch.Tensor,
    ) -> None:
        """Add the errors of those predictions whose target is not 0."""
        place_m, expressed_m = block_m * self.expected_bg.shape[1] + gene_m, target_m > 0
        predicted_ms = torch.stack([value_m.where(logit_m > 0, 0.0), value_m], dim=1)
        error_ms = (predicted_ms - target_m[:, None]).abs().where(expressed_m[:, None], 0.0)
        self.errors_bgs.view(-1, 2).index_add_(0, place_m, error_ms.double())

    def sums(self) -> ErrorSums:
        """Return the sums of the epoch over all ranks, each of which must ask; valid until the next `reset`."""
        if self._sums is None:
            if self._waiting:
                self._count_waiting()
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(self.errors_bgs)
                torch.distributed.all_reduce(self.expected_bg)
                self.histograms.add_ranks()
            n_gy = self.histograms.count_gyb.sum(dim=2).cpu().numpy()
            self._sums = ErrorSums(
                self.errors_bgs.cpu().numpy(),
                self.expected_bg.cpu().numpy(),
                n_g=n_gy.sum(axis=1),
                n_nonzero_g=n_gy[:, 1],
                auc_g=self.histograms.auc(),
            )
        return self._sums
