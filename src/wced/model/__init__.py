"""The model, as one of Hugging Face's.

::

    genes and values ──► embedding ──► backbone ──► CLS positions ──► expression of all genes, labels
                         (value_encoders) (backbones) └► gene positions ──► expression of hidden genes

`configuration` is its config.json, `modeling` the whole with decoders and heads, `cpu` what is faster on CPUs.
"""

from wced.model.configuration import WcedConfig
from wced.model.modeling import WcedModel, WcedOutput

__all__ = ["WcedConfig", "WcedModel", "WcedOutput"]
