"""The model: gene + value embeddings, a bidirectional LLaMA, decoders and label heads."""

from wced.model.configuration import WcedConfig
from wced.model.modeling import WcedModel, WcedOutput

__all__ = ["WcedConfig", "WcedModel", "WcedOutput"]
