"""A Performer: LLaMA's blocks with attention that is linear in the length (Choromanski et al. 2021)."""

import numpy as np
import torch
from torch import Tensor

from wced.model.backbones.llama import Attention, Block, Stack

FEATURES_PER_WIDTH = 4
"""Random features per dimension of a head; docs/models.md has the error."""


def orthogonal_features(features: int, width: int, seed: int) -> Tensor:
    """Return random directions, orthogonal within each `width` of them; (features, width), float32.

    Each is distributed as a standard normal vector; together they cover space more evenly, which lowers the variance of
    the estimate (Choromanski et al. 2021, section 3.3).
    """
    generator = np.random.default_rng(seed)
    q_bee, r_bee = np.linalg.qr(generator.normal(size=(-(-features // width), width, width)))
    # Unsigned, the factor Q prefers some directions (Mezzadri 2007), and the estimate of the softmax would be biased.
    q_bee *= np.sign(np.diagonal(r_bee, axis1=1, axis2=2))[:, None]
    lengths = np.linalg.norm(generator.normal(size=(features, width)), axis=1)
    return torch.from_numpy((q_bee.reshape(-1, width)[:features] * lengths[:, None]).astype(np.float32))


def linear_attention(
    q_nhqe: Tensor, k_nhle: Tensor, v_nhle: Tensor, direction_fe: Tensor, present_nl: Tensor | None
) -> Tensor:
    """Return softmax attention estimated by positive random features (FAVOR+).

    exp(q·k) = E[φ_w(q) φ_w(k)] with φ_w(x) = exp(w·x − |x|²/2) for normal w (Choromanski et al. 2021, lemma 1), so that
    the sums over the keys are made once for all queries.

    Each feature is divided by its largest value among the keys, and the features of a query multiplied with these
    values and divided by the largest product. Both cancel in the quotient, and the denominator is never below 1:
    nothing overflows, and no small constant has to be added.

    Queries, keys and values are cells × heads × positions × width of a head; `direction_fe` has the w, and `present_nl`
    says which keys are no padding (None: all).
    """
    scale = q_nhqe.shape[-1] ** -0.25
    q_nhqe, k_nhle = q_nhqe * scale, k_nhle * scale
    q_nhqf = q_nhqe @ direction_fe.T  # |q|² is the same for all features, so it cancels
    k_nhlf = k_nhle @ direction_fe.T - k_nhle.square().sum(-1, keepdim=True) / 2
    if present_nl is not None:
        k_nhlf = k_nhlf.masked_fill(~present_nl[:, None, :, None], -torch.inf)
    largest_nhf = k_nhlf.detach().amax(2, keepdim=True)
    q_nhqf = q_nhqf + largest_nhf
    q_nhqf = (q_nhqf - q_nhqf.detach().amax(3, keepdim=True)).exp()
    k_nhlf = (k_nhlf - largest_nhf).exp()
    return (q_nhqf @ (k_nhlf.transpose(2, 3) @ v_nhle)) / (q_nhqf @ k_nhlf.sum(2).unsqueeze(-1))


class RandomFeatureAttention(Attention):
    """Attention whose softmax is estimated by random features, sampled once and saved with the weights."""

    def __init__(self, width: int, heads: int, seed: int) -> None:
        super().__init__(width, heads)
        head = width // heads
        self.register_buffer("direction_fe", orthogonal_features(FEATURES_PER_WIDTH * head, head, seed))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, present_nl: Tensor | None) -> Tensor:
        """Average values by the estimated softmax, in float32: exponentials of random features span many orders."""
        with torch.autocast(q.device.type, enabled=False):
            mixed = linear_attention(q.float(), k.float(), v.float(), self.direction_fe.float(), present_nl)
        return mixed.to(q.dtype)


class Backbone(Stack):
    """LLaMA's blocks with estimated attention and a norm before every one, as the estimate is poor for long vectors."""

    approximates = True

    def __init__(self, width: int, layers: int, heads: int, inner: int) -> None:
        blocks = (Block(RandomFeatureAttention(width, heads, seed=i), width, inner) for i in range(layers))
        super().__init__(blocks, width)
