import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from speed import page, steps
from speed.__main__ import app
from speed.commands import steps as measure_steps
from speed.flops import forward_flops, step_flops
from speed.steps import MatmulPeak, padding, peak_mb, reset_peak
from wced import tables
from wced.errors import WcedError
from wced.model import WcedConfig, WcedModel

CELLS, LENGTH, GENES = 3, 20, 50


def small(decoder, cls_positions=1):
    torch.manual_seed(0)
    heads = [{"column": "tissue", "loss": "focal", "classes": 7}, {"column": "donor", "loss": "focal", "classes": 11}]
    config = WcedConfig(
        vocabulary_size=GENES, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48,
        value_frequencies=4, decoder_width=24, decoders=[decoder], label_heads=heads, cls_positions=cls_positions,
    )  # fmt: skip
    return WcedModel(config)


def counted(model, *, backward, **options):
    """Return the products that torch itself counts, with attention as two plain products."""
    torch.manual_seed(1)
    gene, value = torch.randint(0, GENES, (CELLS, LENGTH)), torch.rand(CELLS, LENGTH) + 0.1
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):
        output = model(gene, value, torch.full((CELLS,), LENGTH), full=True, **options)
        if backward:
            outputs = [output.detection_logits, output.values, output.position_logits, output.position_values]
            sum(part.sum() for part in [*outputs, *output.label_logits.values()] if part is not None).backward()
    return counter.get_total_flops()


def cls_rows(model):
    """Return the operations of the input embedding's product at CLS positions, whose rows are zeros."""
    config = model.config
    return 2 * CELLS * config.cls_positions * (2 * config.value_frequencies + 4) * config.hidden_size


@pytest.mark.parametrize("cls_positions", [1, 3])
@pytest.mark.parametrize("decode", [True, False], ids=["decoded", "embedded"])
def test_forward_operations_are_those_that_torch_counts(cls_positions, decode):
    model = small("wced", cls_positions).eval()
    formula = forward_flops(model.config, np.full(CELLS, LENGTH), decode=decode)
    assert formula == counted(model, backward=False, decode=decode) - cls_rows(model)


@pytest.mark.parametrize("decoder", ["wced", "mlm"])
def test_step_operations_are_those_that_torch_counts(decoder):
    model = small(decoder)
    masked = torch.arange(CELLS * LENGTH).view(CELLS, LENGTH) % 3 > 0 if decoder == "mlm" else None
    hidden = None if masked is None else int(masked.sum())
    expected = counted(model, backward=True, masked=masked) - 3 * cls_rows(model)
    assert step_flops(model.config, np.full(CELLS, LENGTH), hidden) == expected


def test_padding_needs_no_operations():
    config = small("wced").config
    alone = sum(step_flops(config, [length]) for length in (5, 9))
    assert step_flops(config, [5, 9]) == alone < step_flops(config, [9, 9])


def test_padding_is_less_among_equal_lengths():
    lengths = np.array([4, 10, 4, 10])
    assert padding(lengths, 2) == pytest.approx(12 / 40)
    assert padding(np.sort(lengths), 2) == 0


def test_the_peak_is_the_best_turn():
    peak = MatmulPeak("cpu", "fp32", positions=8, width=16, inner=8)
    assert set(peak.best.values()) == {0.0}
    peak.turn()
    first = dict(peak.best)
    peak.turn()
    assert all(peak.best[name] >= first[name] > 1e8 for name in ("matmul", "linear"))


def test_peak_memory_is_reset():
    block = np.ones(200_000_000, np.uint8)
    assert block.nbytes == 200e6
    large = peak_mb("cpu")
    del block
    reset_peak("cpu")
    assert peak_mb("cpu") < large - 150


def test_the_command_writes_every_row(tmp_path, monkeypatch):
    class Small(WcedConfig):
        def __init__(self, **shape):
            super().__init__(**shape, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, decoder_width=16)

    monkeypatch.setattr(steps, "WcedConfig", Small)
    monkeypatch.setitem(steps.SQUARE, "cpu", 64)
    options = ["steps", "--output", str(tmp_path / "t.tsv"), "--widths", "48", "--lengths", "24", "--batch-size", "2"]
    run = CliRunner().invoke(app, [*options, "--repeats", "2", "--precisions", "fp32"], catch_exceptions=False)
    assert run.exit_code == 0, run.output
    table = tables.read(tables.STEP_BENCHMARK, tmp_path / "t.tsv").set_index("work")
    assert table.index.tolist() == list(steps.WORKS) and (tmp_path / "t.tsv.provenance.json").exists()
    assert (table["min"] <= table["seconds"]).all() and (table["seconds"] <= table["max"]).all()
    assert table["flops_per_second"].to_numpy() == pytest.approx(table["flops"] / table["seconds"], rel=1e-4)
    assert (table["peak_flops_per_second"] >= table["matmul_flops_per_second"]).all() and (table["peak_mb"] > 100).all()
    tokens = table["tokens_per_second"] / table["cells_per_second"]
    assert tokens[["wced_step", "embedding"]].to_numpy() == pytest.approx(25, rel=1e-4) and 20 < tokens["mlm_step"] < 25
    assert (table["flops"].drop("embedding") > 3 * table["flops"]["embedding"]).all()
    path = tmp_path / "page.md"
    path.write_text(f"# Speed\n{page.BEGIN}\n{page.END}\n")
    page.write_page(tmp_path / "t.tsv", path)
    assert f"| embedding | cpu | fp32 | 48 | 24 | 2 | {table['seconds']['embedding']:.3g} (" in path.read_text()


@pytest.mark.parametrize(
    ("option", "value"),
    [("widths", "wide"), ("lengths", "1"), ("works", "walk"), ("precisions", "fp8"), ("device", "abacus")],
)
def test_wrong_options_are_refused(option, value, tmp_path):
    with pytest.raises(WcedError, match=value):
        measure_steps(
            tmp_path / "t.tsv", **{"device": "cpu", "works": "embedding", "widths": "8", "lengths": "8", option: value}
        )  # fmt: skip
