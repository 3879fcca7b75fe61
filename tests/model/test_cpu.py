import platform
import resource
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from wced.model import cpu
from wced.model.backbones.llama import Backbone as Llama

NEEDS_ONEDNN = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


@pytest.fixture
def onednn(monkeypatch):
    """Every product by oneDNN, whatever the processor and the size."""
    monkeypatch.setattr(cpu, "MKL_IS_SLOW", True)
    monkeypatch.setattr(cpu, "LARGE", 0)


def with_gradients(function, *inputs):
    """Return a function's result and the gradients of its sum of squares."""
    inputs = [part.detach().clone().requires_grad_() for part in inputs]
    result = function(*inputs)
    return result.detach(), *torch.autograd.grad(result.square().sum(), inputs)


def assert_near(tensors, exact_ones, tolerance):
    for ours, exact in zip(tensors, exact_ones, strict=True):
        assert ours.shape == exact.shape and (ours - exact).abs().max() <= tolerance * exact.abs().max()


@NEEDS_ONEDNN
@pytest.mark.parametrize(("width_in", "width_out"), [(24, 40), (40, 24)])
@pytest.mark.parametrize("shape", [(7,), (3, 5)], ids=["rows", "cells"])
def test_a_product_by_onednn_is_the_product(onednn, width_in, width_out, shape):
    torch.manual_seed(0)
    layer, x = cpu.Linear(width_in, width_out), torch.randn(*shape, width_in)
    assert isinstance(layer, nn.Linear) and layer.bias is None

    def by_layer(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    expected = with_gradients(F.linear, x.double(), layer.weight.double())
    assert_near(with_gradients(by_layer, x, layer.weight), expected, 1e-5)


@NEEDS_ONEDNN
def test_an_encoder_by_onednn_is_the_same(onednn, monkeypatch):
    torch.manual_seed(0)
    encoder, x = Llama(32, 2, 2, 48), torch.randn(2, 9, 32)

    def passed():
        encoder.zero_grad()
        result = encoder(x, None, 1)
        result.square().sum().backward()
        return [result.detach(), *(parameter.grad for parameter in encoder.parameters())]

    by_onednn = passed()
    monkeypatch.setattr(cpu, "MKL_IS_SLOW", False)
    for ours, expected in zip(by_onednn, passed(), strict=True):
        assert (ours - expected).abs().max() <= 1e-5 * max(expected.abs().max(), 1)


@NEEDS_ONEDNN
def test_weights_that_do_not_learn_get_no_gradient(onednn):
    layer = cpu.Linear(4, 6).requires_grad_(False)
    x = torch.randn(3, 4, requires_grad=True)
    layer(x).sum().backward()
    assert torch.allclose(x.grad, layer.weight.sum(0).expand(3, 4), atol=1e-6) and layer.weight.grad is None


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.03), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("scores", [1, 200, 2**21], ids=["one head", "some heads", "all heads"])
@pytest.mark.parametrize("queries", [1, 11])
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
def test_attention_in_bfloat16_is_attention(monkeypatch, dtype, tolerance, scores, queries, padded):
    """Outputs and gradients (of queries that are there), in float32 too, where rounding hides no error."""
    monkeypatch.setattr(cpu, "SCORES", scores)
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, length, 2, 8).to(dtype).transpose(1, 2) for length in (queries, 11, 11))
    present = torch.arange(11) < torch.tensor([11, 4, 1])[:, None] if padded else torch.ones(3, 11, dtype=torch.bool)
    asks = present[:, None, :queries, None]
    mask = present[:, None, None] if padded else None
    ours = with_gradients(lambda *qkv: asks * cpu.bfloat16_attention(*qkv, present if padded else None), q, k, v)
    exact = with_gradients(
        lambda *qkv: asks * F.scaled_dot_product_attention(*qkv, attn_mask=mask), q.double(), k.double(), v.double()
    )
    assert_near(ours, exact, tolerance)


def test_attention_computes_no_padding(monkeypatch):
    monkeypatch.setattr(cpu, "SCORES", 1)
    q = torch.randn(2, 1, 6, 4).bfloat16()
    present = torch.arange(6) < torch.tensor([6, 2])[:, None]
    k = q.masked_fill(~present[:, None, :, None], torch.nan)
    mixed = cpu.bfloat16_attention(q, k, k, present)
    assert mixed.isfinite().all() and (mixed[1, 0, 2:] == 0).all()


def test_attention_in_bfloat16_gives_a_score_far_above_the_others_all_of_the_weight():
    q = torch.full((1, 1, 1, 4), 100.0).bfloat16()
    k = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 3, 1).expand(1, 1, 3, 4).bfloat16()
    v = torch.tensor([5.0, 6.0, 7.0]).view(1, 1, 3, 1).bfloat16()
    assert cpu.bfloat16_attention(q, k, v.expand(1, 1, 3, 4), None).tolist() == [[[[7.0] * 4]]]


def test_an_encoder_in_bfloat16_is_near_float32():
    torch.manual_seed(0)
    encoder, x = Llama(32, 2, 2, 48), torch.randn(2, 9, 32)
    exact = encoder(x, None)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder(x, None)
    assert (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()


FAULTS = """
import resource

import torch

from wced.model.cpu import keep_freed_memory

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(10))
keep_freed_memory()
faults(10)  # until a fitting block is allocated
print(faults(10))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_memory_that_is_freed_is_kept():
    """In a process of its own: in one whose heap can not grow any more, glibc maps every tensor anew all the same."""
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after = map(int, run.stdout.split())
    pages = 2**26 // resource.getpagesize()
    assert after < pages <= before
