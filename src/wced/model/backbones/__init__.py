"""Encoders, chosen by a word of the config; each in a module of that name.

A backbone is built as `(width, layers, heads, inner)` and called as `(x_nld, present_nl, queries)`; see
`llama.Stack.forward`. Training with its attribute `gradient_checkpointing` set computes activations again in the
backward pass instead of keeping them.
"""

from importlib import import_module

from torch import nn

from wced.errors import WcedError
from wced.model.configuration import WcedConfig

CLASSES = {
    "llama": "Llama",
    "bert": "Bert",
    "modernbert": "ModernBert",
    "nystromformer": "Nystromformer",
    "performer": "Performer",
}


def build(config: WcedConfig) -> nn.Module:
    """Return the backbone that a model's config names; only its module is imported.

    Raises
    ------
    WcedError
        If there is no such backbone.
    """
    if config.backbone not in CLASSES:
        raise WcedError(f"backbone {config.backbone!r} is none of {', '.join(CLASSES)}")
    backbone = getattr(import_module(f"{__name__}.{config.backbone}"), CLASSES[config.backbone])
    shape = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)
    return backbone(*shape)


def layers_of(backbone: nn.Module, n: int) -> nn.ModuleList:
    """Return the `n` layers of an encoder, whichever it is."""
    return next(part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == n)
