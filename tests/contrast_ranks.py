"""The contrast in one of several processes; a module of its own, because new processes import it."""

import numpy as np
import torch
from torch import distributed

from wced.objectives.contrast import Contrast

LABELS = [0, 1, -1, 0, 1, 1, -1]


def views(n, seed=0, width=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)), rng.normal(size=(n, width))


def of_one_process(rank, meeting, sizes, results):
    distributed.init_process_group("gloo", meeting, rank=rank, world_size=len(sizes))
    first_nd, second_nd = views(sum(sizes))
    own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    tensors = [torch.tensor(x_nd[own], dtype=torch.float32, requires_grad=True) for x_nd in (first_nd, second_nd)]
    label_n = torch.tensor(LABELS)[own]
    term = Contrast(0.2, np.eye(2, dtype=bool))(*tensors, torch.arange(sum(sizes))[own], label_n)
    term.total.backward()
    results.put((rank, term.total.item(), [x_nd.grad.numpy() for x_nd in tensors]))
    distributed.barrier()
    distributed.destroy_process_group()
