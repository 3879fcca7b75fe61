"""Contrast of two views of the same cells: the embedding keeps what they share, and forgets what differs by chance."""

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn import functional as over_ranks
from torch.nn import functional as F

from wced.objectives.term import Term, term


class Contrast(nn.Module):
    """Supervised contrastive loss (Khosla et al. 2020, equation 2) of projections of two views of each cell.

    With unit vectors a_i and b_j of the first view of cell i and the second of cell j, s_ij = a_i · b_j / temperature,
    and the positives P_i of cell i (the cell itself, also where a batch has it twice, and cells of related labels where
    there are such),

        L_i = −1/|P_i| Σ_{j ∈ P_i} log softmax_j(s_ij),

    and the same from the second view to the first. Without labels this is SimCLR's loss across views (Chen et al.
    2020). The other cells are those of all processes: their projections are gathered with their gradients, so that two
    processes with half the batch have the loss and the gradients of one with the whole.
    """

    def __init__(self, temperature: float, related_cc: np.ndarray | None = None) -> None:
        """Keep the temperature and the labels whose cells are positives (bool, classes × classes, symmetric)."""
        super().__init__()
        self.temperature = temperature
        # The last row and column, which code −1 indexes, are unknown: related to none.
        related = None if related_cc is None else torch.from_numpy(np.pad(related_cc, (0, 1)))
        self.register_buffer("related_cc", related, persistent=False)

    def forward(self, first_nd: Tensor, second_nd: Tensor, cell_n: Tensor, label_n: Tensor | None = None) -> Term:
        """Return the sum over the cells of this process, in both directions.

        `first_nd` and `second_nd` are projections of the two views, `cell_n` identifies the cells, and `label_n` has
        their class codes, −1 for unknown, where there are related labels.
        """
        first_nd, second_nd = (F.normalize(view_nd.float(), dim=1) for view_nd in (first_nd, second_nd))
        all_first_md, all_second_md = _gathered(first_nd), _gathered(second_nd)
        positive_nm = cell_n[:, None] == _gathered(cell_n[:, None])[:, 0]
        if self.related_cc is not None:
            positive_nm |= self.related_cc[label_n.long()[:, None], _gathered(label_n.long()[:, None])[:, 0]]
        total = 0.0
        for from_nd, to_md in ((first_nd, all_second_md), (second_nd, all_first_md)):
            log_p_nm = torch.log_softmax(from_nd @ to_md.T / self.temperature, dim=1)
            total = total - ((log_p_nm * positive_nm).sum(dim=1) / positive_nm.sum(dim=1)).sum()
        return term(total, 2 * len(first_nd))


def _gathered(own_nd: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return own_nd
    # Processes may differ by a cell, and gathered tensors must have one shape.
    sizes = [torch.empty(1, dtype=torch.long, device=own_nd.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sizes, torch.tensor([len(own_nd)], device=own_nd.device))
    lengths = torch.cat(sizes).tolist()
    padded_nd = F.pad(own_nd, (0, 0, 0, max(lengths) - len(own_nd)))
    if own_nd.requires_grad:
        parts = over_ranks.all_gather(padded_nd)
    else:
        parts = [torch.empty_like(padded_nd) for _ in lengths]
        distributed.all_gather(parts, padded_nd)
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])
