"""Floating-point operations that a step needs: matrix products of positions that are not padding, and no others."""

import numpy as np

from wced.model import WcedConfig

TOKENS = 3
"""Indicators beside a value's features: of a zero, of a hidden value and of a hidden gene."""


def forward_flops(config: WcedConfig, length_n: np.ndarray, hidden: int | None = None, *, decode: bool = True) -> int:
    """Return the operations of a forward pass; a multiplication and an addition count as two.

    A cell of l genes has m = l + k positions, k of them CLS. With width d, feed-forward width f and K frequencies:

    - input embedding: 2 · l · (2K + 1 + 3) · d;
    - a block that computes q of its m positions: 4 · m · d² for keys and values, 4 · q · d² for queries and output,
      4 · q · m · d for scores and mixing, 6 · q · d · f for SwiGLU. q is m, but k in the last block if only CLS
      positions are needed;
    - whole-cell decoder of width w and G genes, once a cell: 2 · d · w + 4 · w · G;
    - position decoder: 2 · d · w + 4 · w for each hidden value;
    - label heads of C classes: 2 · d² + 2 · d · C for each cell.

    Norms, softmax, activations and losses are not matrix products and do not count, nor does padding.

    The backbone is `llama` and the value encoder `periodic`. `length_n` has the genes of each cell's sequence, `hidden`
    is the number of hidden values, at which genes are decoded (None if only the CLS positions are needed), and without
    `decode` neither decoders nor label heads are computed.
    """
    d, f, w, k = config.hidden_size, config.intermediate_size, config.decoder_width, config.cls_positions
    length_n = np.asarray(length_n, np.int64)
    m_n = length_n + k
    blocks = np.zeros_like(m_n)
    for block in range(config.num_hidden_layers):
        last = block == config.num_hidden_layers - 1
        q_n = np.full_like(m_n, k) if last and hidden is None else m_n
        blocks += 4 * m_n * d**2 + 4 * q_n * d**2 + 4 * q_n * m_n * d + 6 * q_n * d * f
    total = int(2 * length_n.sum() * (2 * config.value_frequencies + 1 + TOKENS) * d + blocks.sum())
    if not decode:
        return total
    if hidden is not None:
        total += hidden * (2 * d * w + 4 * w)
    if "wced" in config.decoders:
        total += len(m_n) * (2 * d * w + 4 * w * config.vocabulary_size)
    return total + len(m_n) * sum(2 * d**2 + 2 * d * head["classes"] for head in config.label_heads)


def step_flops(config: WcedConfig, length_n: np.ndarray, hidden: int | None = None) -> int:
    """Return the operations of a training step: the backward pass has two products for each of the forward pass.

    What a kernel computes again instead of keeping it (attention scores) does not count.
    """
    return 3 * forward_flops(config, length_n, hidden)
