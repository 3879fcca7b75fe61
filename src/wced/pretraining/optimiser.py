"""AdamW and its learning rate."""

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from wced.config.pretraining import Optimiser


def share_of_peak(settings: Optimiser, step: int, steps: int) -> float:
    """Return the share of the peak learning rate that a step (from 0) of a training of `steps` has.

    It follows from the step alone, so that a training that goes on for longer has the rates of its new end.
    """
    warmup = max(settings.warmup_steps, 1)
    if step < settings.warmup_steps:
        return (1 + step * (1 - 1 / warmup)) / warmup
    if settings.schedule == "constant":
        return 1.0
    progress = min((step - settings.warmup_steps) / max(steps - settings.warmup_steps, 1), 1.0)
    return settings.final_fraction + (1 - settings.final_fraction) * (1 + math.cos(math.pi * progress)) / 2


def made_optimiser(
    model: nn.Module, settings: Optimiser, steps: int, *, fused: bool
) -> tuple[torch.optim.AdamW, LambdaLR]:
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
    return optimiser, LambdaLR(optimiser, lambda step: share_of_peak(settings, step, steps))
