from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, BertModel

from wced.model import WcedConfig, WcedModel, backbones
from wced.model.backbones import nystromformer, performer
from wced.model.configuration import BACKBONES

D = 16


def make(name, layers=2):
    torch.manual_seed(0)
    backbone = backbones.class_of(name)(D, layers, 2, 24).eval()
    with torch.no_grad():  # so large that attention prefers some genes, and all layers matter
        for parameter in backbone.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=D**-0.5)
    return backbone


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request):
    return make(request.param)


def vectors(n, length, seed=0):
    return torch.randn(n, length, D, generator=torch.Generator().manual_seed(seed))


def close(left, right, tolerance=1e-5):
    torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 150), seed=st.integers(0, 2**32 - 1))
@torch.no_grad()
def test_order_of_genes_means_nothing(backbone, length, seed):
    x = vectors(2, length, seed)
    order = torch.randperm(length, generator=torch.Generator().manual_seed(seed))
    hidden = backbone(x, None)
    close(backbone(x[:, order], None), hidden[:, order])
    assert (hidden[0] - hidden[1]).abs().max() > 0.1  # and cells differ


@settings(max_examples=15, deadline=None)
@given(lengths=st.tuples(*[st.integers(1, 150)] * 2), padding=st.integers(0, 40), seed=st.integers(0, 2**32 - 1))
@torch.no_grad()
def test_neither_padding_nor_other_cells_of_the_batch_matter(backbone, lengths, padding, seed):
    x = vectors(2, max(lengths) + padding, seed)
    present = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
    x[~present] = x[~present] * 10 + 5
    together = backbone(x, present)
    for i, length in enumerate(lengths):
        close(backbone(x[i : i + 1, :length], None)[0], together[i, :length])


@torch.no_grad()
@pytest.mark.parametrize("present", [None, torch.arange(9) < torch.tensor([[9], [4]])], ids=["full", "padded"])
def test_leading_positions_alone_are_the_same_as_in_the_full_pass(backbone, present):
    x = vectors(2, 9)
    some, full = backbone(x, present, 3), backbone(x, present)
    assert some.shape == (2, 3, D) and full.shape == (2, 9, D)
    close(some, full[:, :3])


def test_nothing_drops_out(backbone):
    x = vectors(2, 9)
    with torch.no_grad():
        expected = backbone(x, None)
        close(backbone.train()(x, None), expected, 0)
    backbone.eval()


def test_checkpointing_computes_layers_again_for_the_same_gradients(backbone):
    x, runs = vectors(2, 9), []
    present = torch.arange(9) < torch.tensor([[9], [4]])
    attention = [m for m in backbone.modules() if type(m).__name__.endswith("Attention")]
    hooks = [module.register_forward_hook(lambda *_: runs.append(1)) for module in attention]
    passes = []
    for on in (False, True):
        backbone.gradient_checkpointing = on
        assert backbone.gradient_checkpointing is on
        backbone.train().zero_grad()
        runs.clear()
        hidden = backbone(x, present)
        hidden.square().sum().backward()
        passes.append((len(runs), hidden.detach(), {name: p.grad for name, p in backbone.named_parameters()}))
    runs.clear()
    backbone.eval()(x, present)
    assert len(runs) == len(attention)
    backbone.gradient_checkpointing = False
    for hook in hooks:
        hook.remove()
    (once, hidden, gradients), (twice, again, same) = passes
    assert (once, twice) == (len(attention), 2 * len(attention))
    close(again, hidden, 0)
    assert all(gradient is not None and gradient.any() for gradient in gradients.values())
    for name, gradient in gradients.items():
        close(same[name], gradient, 1e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_saved_models_reload_and_what_is_fixed_stays_fixed(name, tmp_path):
    torch.manual_seed(0)
    config = WcedConfig(
        vocabulary_size=12, backbone=name, hidden_size=D, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, decoder_width=8, value_frequencies=4,
    )  # fmt: skip
    model = WcedModel(config)
    model.save_pretrained(tmp_path)
    reloaded = WcedModel.from_pretrained(tmp_path)
    cells = {"gene": torch.arange(8).view(2, 4), "value": torch.ones(2, 4), "length": torch.tensor([4, 3])}
    with torch.no_grad():
        close(reloaded(**cells).cls_nkd, model.eval()(**cells).cls_nkd, 0)
    assert reloaded.num_parameters() == reloaded.num_parameters(only_trainable=True) == model.num_parameters()
    fixed = {key: tensor.clone() for key, tensor in reloaded.backbone.named_buffers()}
    optimiser = torch.optim.SGD(reloaded.parameters(), 0.1)
    reloaded.train()(**cells).values.sum().backward()
    gradients = [p.grad for p in reloaded.backbone.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    optimiser.step()
    assert all(torch.equal(tensor, fixed[key]) for key, tensor in reloaded.backbone.named_buffers())
    tables = [tensor for key, tensor in fixed.items() if "position_embeddings" in key or "token_type_embeddings" in key]
    assert len(tables) == (2 if name in ("bert", "nystromformer") else 0)
    assert not any(table.any() for table in tables)


@torch.no_grad()
def test_bert_is_transformers_own_with_zeros_for_positions():
    ours = make("bert")
    config = BertConfig(
        vocab_size=2, hidden_size=D, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=30, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )  # fmt: skip
    theirs = BertModel(config, add_pooling_layer=False).eval()
    own = {
        key: tensor for key, tensor in ours.model.state_dict().items() if "position" not in key and "type" not in key
    }
    missing = theirs.load_state_dict(own, strict=False).missing_keys
    assert {key.split(".")[1] for key in missing} == {
        "word_embeddings", "position_embeddings", "token_type_embeddings"
    }  # fmt: skip
    theirs.embeddings.position_embeddings.weight.zero_()
    theirs.embeddings.token_type_embeddings.weight.zero_()
    x, present = vectors(2, 20), torch.arange(20) < torch.tensor([[20], [11]])
    expected = theirs(inputs_embeds=x, attention_mask=present.long()).last_hidden_state
    close(ours(x, present)[present], expected[present])


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@torch.no_grad()
@pytest.mark.parametrize("name", ["performer", "nystromformer"])
def test_memory_is_linear_in_the_length(name):
    backbone, elements = make(name), []
    for length in (512, 1024):
        present = torch.arange(length) < torch.tensor([[length - 5]])
        with Largest() as largest:
            backbone(vectors(1, length), present)
        elements.append(largest.elements)
    assert elements[1] <= 2 * elements[0] and elements[1] < 1024 * 1024


def attention_inputs(spread, length=60, width=8):
    generator = torch.Generator().manual_seed(3)
    return (torch.randn(2, 2, length, width, generator=generator).double() * s for s in (spread, spread, 1))


def test_random_features_estimate_softmax_attention_better_the_more_there_are():
    q, k, v = attention_inputs(0.3)
    exact = F.scaled_dot_product_attention(q, k, v)
    errors = []
    for features in (8, 64, 512, 4096):
        squares = [
            (performer.linear_attention(q, k, v, directions.double(), None) - exact).square().mean()
            for directions in (performer.orthogonal_features(features, 8, seed) for seed in range(10))
        ]
        errors.append((torch.stack(squares).mean() / exact.square().mean()).sqrt().item())
    assert all(2 < fewer / more < 4 for fewer, more in pairwise(errors))  # about √8
    assert errors[-1] < 0.015


def test_linear_attention_is_the_quotient_of_sums_over_features():
    q, k, v = attention_inputs(1.0, length=9)
    present = torch.arange(9) < torch.tensor([[9], [5]])
    w = performer.orthogonal_features(20, 8, 1).double()
    scaled_q, scaled_k = q * 8**-0.25, k * 8**-0.25
    phi_q, phi_k = ((x @ w.T - x.square().sum(-1, keepdim=True) / 2).exp() for x in (scaled_q, scaled_k))
    weight = (phi_q @ phi_k.transpose(2, 3)) * present[:, None, None]
    close(performer.linear_attention(q, k, v, w, present), weight / weight.sum(-1, keepdim=True) @ v, 1e-12)


def test_linear_attention_is_finite_for_huge_queries_and_keys():
    q, k, v = (x.float().requires_grad_() for x in attention_inputs(1e3))
    mixed = performer.linear_attention(q, k, v, performer.orthogonal_features(32, 8, 0), None)
    mixed.sum().backward()
    assert all(tensor.isfinite().all() for tensor in (mixed, q.grad, k.grad, v.grad))
    assert mixed.abs().max() <= v.abs().max() * (1 + 1e-5)  # it is an average


def test_directions_are_orthogonal_and_as_long_as_normal_ones():
    directions = performer.orthogonal_features(4 * 32 + 5, 32, seed=2).double()
    assert torch.equal(directions, performer.orthogonal_features(4 * 32 + 5, 32, seed=2).double())
    for block in directions.split(32):
        products = F.normalize(block, dim=1) @ F.normalize(block, dim=1).T
        close(products, torch.eye(len(block), dtype=torch.double), 1e-5)
    lengths = performer.orthogonal_features(4096, 32, seed=0).square().sum(1)
    assert abs(lengths.mean() - 32) < 0.6 and 7 < lengths.std() < 9  # chi-squared of 32: mean 32, sd 8


def landmark_attention(length):
    """Attention with random weights, its input, landmarks, and queries, keys and values of each head (float64)."""
    backbone = make("nystromformer")
    attention = backbone.model.encoder.layer[0].attention.self
    x = vectors(2, length)
    projections = (attention.query, attention.key, attention.value)
    q, k, v = (project(x).view(2, length, 2, 8).transpose(1, 2).double() for project in projections)
    return backbone, attention, x, q / 8**0.5, k, v


@torch.no_grad()
def test_landmark_attention_is_the_formula_on_what_is_there():
    backbone, attention, x, q, k, v = landmark_attention(90)
    lengths = [90, 41]  # more and fewer genes than landmarks
    landmark = backbone.landmarks(x, torch.arange(90) < torch.tensor(lengths)[:, None])
    (mixed,) = attention(x, landmark)
    for i, length in enumerate(lengths):
        member = F.one_hot(landmark[i, :length]).double()
        mean = (member / member.sum(0)).T[member.any(0)]
        for head in range(2):
            q_l, k_l, v_l = (x[i, head, :length] for x in (q, k, v))
            among = (mean @ q_l @ (mean @ k_l).T).softmax(-1)
            inverse = among.T / among.sum(0).max()
            one = torch.eye(len(among), dtype=torch.double)
            for _ in range(6):  # Xiong et al. 2021, equation 11
                step = among @ inverse
                inverse = inverse / 4 @ (13 * one - step @ (15 * one - step @ (7 * one - step)))
            expected = (q_l @ (mean @ k_l).T).softmax(-1) @ inverse @ (mean @ q_l @ k_l.T).softmax(-1) @ v_l
            close(mixed[i, :length, head * 8 : head * 8 + 8].double(), expected)


@torch.no_grad()
@pytest.mark.parametrize(("length", "bound"), [(30, 0.05), (400, 0.5)], ids=["a landmark each", "groups"])
def test_landmarks_approximate_softmax_attention(length, bound):
    backbone, attention, x, q, k, v = landmark_attention(length)
    exact = F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).flatten(2)
    (mixed,) = attention(x, backbone.landmarks(x, None))
    plain = v.mean(2, keepdim=True).expand_as(v).transpose(1, 2).flatten(2)
    assert (mixed - exact).norm() < bound * (plain - exact).norm()


@torch.no_grad()
def test_landmarks_are_equal_groups_of_the_genes_that_are_there():
    backbone = make("nystromformer")
    lengths = torch.tensor([200, 64, 20])
    present = torch.arange(210) < lengths[:, None]
    landmark = backbone.landmarks(vectors(3, 210), present)
    assert torch.equal(landmark >= 0, present)
    sizes = [torch.bincount(row[row >= 0], minlength=nystromformer.LANDMARKS) for row in landmark]
    assert sizes[0].min() == 3 and sizes[0].max() == 4
    assert (sizes[1] == 1).all()
    assert sizes[2].max() == 1 and sizes[2].sum() == 20
    # Groups are intervals along the direction.
    order = (vectors(3, 210) @ backbone.direction_d)[0, :200].argsort()
    assert (landmark[0, order].diff() >= 0).all()


def test_only_llama_has_no_norm_before_the_first_attention():
    stacks = {name: make(name, layers=3) for name in ("llama", "performer")}
    norms = {name: [type(block.attention_norm) for block in stack.blocks] for name, stack in stacks.items()}
    assert norms == {"llama": [nn.Identity, nn.RMSNorm, nn.RMSNorm], "performer": [nn.RMSNorm] * 3}
    assert all(isinstance(block.feed_forward_norm, nn.RMSNorm) for stack in stacks.values() for block in stack.blocks)
