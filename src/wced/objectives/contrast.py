"""Contrast of two views of the same cells: the embedding keeps what both tell, and forgets what differs by chance."""

import numpy as np
import torch
from torch import distributed, nn
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
        """Take the settings.

        Parameters
        ----------
        temperature
            What cosines are divided by.
        related_cc
            bool, classes × classes, symmetric: labels whose cells are positives of each other; None for none.
        """
        super().__init__()
        self.temperature = temperature
        if related_cc is not None:  # the last row and column, which code −1 finds, stand for unknown: related to none
            related_cc = np.pad(related_cc, (0, 1))
            self.register_buffer("related_cc", torch.from_numpy(related_cc), persistent=False)

    def forward(
        self, first_nd: torch.Tensor, second_nd: torch.Tensor, cell_n: torch.Tensor, label_n: torch.Tensor | None = None
    ) -> Term:
        """Return the sum over the cells of this process, in both directions.

        Parameters
        ----------
        first_nd, second_nd
            Projections of the two views, cells × dimensions.
        cell_n
            Identity of each cell.
        label_n
            Class codes, −1 for unknown; where there are related labels.
        """
        first_nd, second_nd = (F.normalize(view_nd.float(), dim=1) for view_nd in (first_nd, second_nd))
        all_first_md, all_second_md = _gathered(first_nd), _gathered(second_nd)
        positive_nm = cell_n[:, None] == _gathered(cell_n[:, None])[:, 0]
        if hasattr(self, "related_cc"):
            positive_nm |= self.related_cc[label_n.long()[:, None], _gathered(label_n.long()[:, None])[:, 0]]
        total = self._one_way(first_nd, all_second_md, positive_nm) + self._one_way(
            second_nd, all_first_md, positive_nm
        )
        return term(total, 2 * len(first_nd))

    def _one_way(self, from_nd: torch.Tensor, to_md: torch.Tensor, positive_nm: torch.Tensor) -> torch.Tensor:
        log_p_nm = torch.log_softmax(from_nd @ to_md.T / self.temperature, dim=1)
        return -((log_p_nm * positive_nm).sum(dim=1) / positive_nm.sum(dim=1)).sum()


def _gathered(own_nd: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, in the order of their ranks."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return own_nd
    # Processes may differ by a cell, and what is gathered must have one shape.
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
