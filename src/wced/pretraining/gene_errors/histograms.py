"""Histograms of detection logits for every gene, from which areas under ROC curves follow; bins fit themselves.

A logit counts as a *code*, a whole number of steps of 1/512 from −32 to 32. A gene's bins are 2^s steps wide, s being
the smallest with which the gene's range of codes fits into 512 bins. Codes k with the same k >> s share a bin, which
stands at the place (k >> s) mod 512: when the range grows, bins never move, and when s grows, bins merge whole. So
what is counted depends only on the logits, and not on batches, their order or ranks. With normal logits of a standard
deviation of 0.05 or more, the AUC differs from the exact one by less than 0.0005 (of 0.02: 0.002); where clusters of
logits lie further apart than 100 times their own spread, it is nearer to 0.5 within them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numba
import numpy as np
import torch
from torch import nn

BINS = 512
STEPS = 512
"""Codes of a logit's unit."""

HIGHEST = 32 * STEPS - 1
"""Largest code, and the smallest with the sign turned."""

EMPTY = HIGHEST + 1
"""Lowest code of a gene without any; its highest is -EMPTY."""

WIDEST = 6
"""Largest s: 2^6 · 512 steps hold all codes."""


def codes_of(logits: torch.Tensor) -> torch.Tensor:
    """Return the codes of logits; int32. What is not a number has the lowest."""
    steps = torch.nan_to_num(logits.float() * STEPS, nan=-torch.inf)
    return steps.clamp(-HIGHEST, HIGHEST).floor().int()


def shift_of(low_g: torch.Tensor, high_g: torch.Tensor) -> torch.Tensor:
    """Return s of genes with such lowest and highest codes; int32."""
    shift_g = torch.zeros_like(low_g)
    for shift in range(WIDEST):
        shift_g += (high_g >> shift) - (low_g >> shift) >= BINS
    return shift_g


class DetectionHistograms(nn.Module):
    """Counts of codes per gene; buffers, so that they move with the model."""

    def __init__(self, vocabulary_size: int) -> None:
        """Start empty for G genes."""
        super().__init__()
        self.register_buffer("count_gyb", torch.zeros(vocabulary_size, 2, BINS, dtype=torch.int32), persistent=False)
        self.register_buffer("low_g", torch.full((vocabulary_size,), EMPTY, dtype=torch.int32), persistent=False)
        self.register_buffer("high_g", torch.full((vocabulary_size,), -EMPTY, dtype=torch.int32), persistent=False)

    def reset(self) -> None:
        """Forget everything."""
        self.count_gyb.zero_()
        self.low_g.fill_(EMPTY)
        self.high_g.fill_(-EMPTY)

    def widen(self, low_g: torch.Tensor, high_g: torch.Tensor) -> torch.Tensor:
        """Make room for codes of a range, merging bins of the genes that need it; return s of every gene."""
        low_g, high_g = torch.minimum(self.low_g, low_g), torch.maximum(self.high_g, high_g)
        old_g, new_g = shift_of(self.low_g, self.high_g), shift_of(low_g, high_g)
        changed = (new_g > old_g).nonzero()[:, 0]
        if len(changed):
            bins = torch.arange(BINS, dtype=torch.int32, device=low_g.device)
            bin_hb = (self.low_g[changed] >> old_g[changed])[:, None] + bins  # every place once
            more_h1 = (new_g - old_g)[changed, None]
            from_hyb, to_hyb = (
                (place_hb & (BINS - 1)).long()[:, None].expand(-1, 2, -1) for place_hb in (bin_hb, bin_hb >> more_h1)
            )
            count_hyb = self.count_gyb[changed]
            merged_hyb = torch.zeros_like(count_hyb).scatter_add_(2, to_hyb, count_hyb.gather(2, from_hyb))
            self.count_gyb[changed] = merged_hyb
        self.low_g.copy_(low_g)
        self.high_g.copy_(high_g)
        return new_g

    def add_cells(self, logits_ng: torch.Tensor, expressed_ng: torch.Tensor, measured_ng: torch.Tensor) -> None:
        """Count logits of cells × genes where the gene was measured, with operations of torch alone."""
        code_ng = codes_of(logits_ng)
        shift_g = self.widen(
            code_ng.where(measured_ng, EMPTY).amin(dim=0), code_ng.where(measured_ng, -EMPTY).amax(dim=0)
        )
        place_ng = (code_ng >> shift_g) & (BINS - 1)
        row_ng = 2 * torch.arange(len(shift_g), device=code_ng.device) + expressed_ng
        self.count_gyb.view(-1).scatter_add_(0, (row_ng * BINS + place_ng).view(-1), measured_ng.int().view(-1))

    def add_positions(self, gene_m: torch.Tensor, logit_m: torch.Tensor, expressed_m: torch.Tensor) -> None:
        """Count logits of any genes (int64)."""
        code_m = codes_of(logit_m)
        shift_g = self.widen(
            self.low_g.scatter_reduce(0, gene_m, code_m, "amin"), self.high_g.scatter_reduce(0, gene_m, code_m, "amax")
        )
        place_m = (code_m >> shift_g[gene_m]) & (BINS - 1)
        row_m = 2 * gene_m + expressed_m
        self.count_gyb.view(-1).scatter_add_(0, row_m * BINS + place_m, torch.ones_like(code_m))

    def add_ranks(self) -> None:
        """Add the counts of all ranks, on each of them."""
        low_g, high_g = self.low_g.clone(), self.high_g.clone()
        torch.distributed.all_reduce(low_g, torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(high_g, torch.distributed.ReduceOp.MAX)
        self.widen(low_g, high_g)
        torch.distributed.all_reduce(self.count_gyb)

    def auc(self) -> np.ndarray:
        """Return the area under the ROC curve of each gene; float64, (G,), NaN without zeros or without non-zeros."""
        first_g = self.low_g >> shift_of(self.low_g, self.high_g)
        auc_g = np.empty(len(first_g))
        arrays = self.count_gyb.cpu().numpy(), first_g.cpu().numpy(), auc_g
        over_genes(lambda start, stop: _auc(*arrays, start, stop), len(auc_g))
        return auc_g


def over_genes(work: Callable[[int, int], None], genes: int) -> None:
    """Call work(start, stop) for parts of the genes in as many threads as torch uses; the work lets others run."""
    threads = torch.get_num_threads()
    cuts = [genes * part // threads for part in range(threads + 1)]
    if threads == 1:
        work(0, genes)
    else:
        list(_pool(threads).map(work, cuts[:-1], cuts[1:]))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="genes")


@numba.njit(nogil=True, cache=True)
def _auc(count_gyb, first_g, auc_g, start, stop):
    """Write P(positive > negative) + P(tie) / 2 (Hanley & McNeil 1982) of the genes from start to stop.

    Bins ascend from place `first_g` mod BINS on, the last place being followed by the first.
    """
    for g in range(start, stop):
        below, wins, positives = 0, 0.0, 0
        for b in range(BINS):
            place = (first_g[g] + b) & (BINS - 1)
            negative, positive = np.int64(count_gyb[g, 0, place]), np.int64(count_gyb[g, 1, place])
            wins += positive * (below + negative / 2)
            below += negative
            positives += positive
        auc_g[g] = wins / (np.float64(below) * positives) if below and positives else np.nan
