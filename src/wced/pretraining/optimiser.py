"""AdamW and its learning rate."""

import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from wced.config.pretraining import Optimiser


def made_optimiser(
    model: nn.Module, settings: Optimiser, steps: int, *, fused: bool
) -> tuple[torch.optim.AdamW, LRScheduler]:
    """Return AdamW, which decays the weights of linear layers only, and its learning rate per step.

    Parameters
    ----------
    model
        Its parameters that take gradients are optimised.
    settings
        Learning rate, warm-up and schedule.
    steps
        Steps of the whole training, at whose end a cosine ends.
    fused
        Whether one kernel updates all parameters.
    """
    decayed = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Linear)}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if id(p) in decayed], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=fused,
    )
    warmup_steps = settings.warmup_steps
    warmup = LinearLR(optimiser, start_factor=1 / max(warmup_steps, 1), total_iters=max(warmup_steps, 1))
    rest = max(steps - warmup_steps, 1)
    after = (
        CosineAnnealingLR(optimiser, rest, eta_min=settings.learning_rate * settings.final_fraction)
        if settings.schedule == "cosine"
        else ConstantLR(optimiser, factor=1.0)
    )
    return optimiser, SequentialLR(optimiser, [warmup, after], [warmup_steps])
