import pytest
import torch
from torch import nn
from torch.nn import functional as F

from wced.model import WcedConfig, WcedModel
from wced.model.backbones import layers_of

G = 40
HEADS = [
    {"column": "cell_type_ontology_term_id", "loss": "hierarchical", "classes": 5},
    {"column": "with.dots", "loss": "focal", "classes": 3},
]


def decoded(output, decoder):
    """Detection logits and values of a decoder."""
    if decoder == "wced":
        return output.detection_logits, output.values
    return output.position_logits, output.position_values


def hidden_at(batch, *at):
    """Which positions are hidden: those of (cell, position) pairs, where either may be a slice."""
    masked = torch.zeros_like(batch["gene"], dtype=torch.bool)
    for cell, position in at:
        masked[cell, position] = True
    return masked


EVERY = slice(None)


def make(decoder="wced", value_encoder="periodic", **changes):
    torch.manual_seed(0)
    model = WcedModel(
        WcedConfig(
            vocabulary_size=G, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24,
            value_encoder=value_encoder, value_frequencies=6, decoder_width=12, label_heads=HEADS,
            input={"length": 20}, **{"decoders": [decoder]} | changes,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():  # initial weights are so small that nothing would be seen
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


@pytest.fixture(params=["periodic", "mlp"])
def model(request):
    return make(value_encoder=request.param)


@pytest.fixture
def batch():
    """Three cells of 12, 7 and 1 genes, padded to 12; some values are 0."""
    generator = torch.Generator().manual_seed(1)
    gene = torch.stack([torch.randperm(G, generator=generator)[:12] for _ in range(3)])
    value = torch.rand(3, 12, generator=generator) * 5
    value[:, ::4] = 0
    return {"gene": gene, "value": value, "length": torch.tensor([12, 7, 1])}


def close(left, right, tolerance=1e-5):
    torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


@torch.no_grad()
def test_order_of_genes_means_nothing(model, batch):
    expected = model(**batch).cls_embedding
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    moved = model(batch["gene"][:1, order], batch["value"][:1, order], batch["length"][:1]).cls_embedding
    close(moved, expected[:1])
    assert (expected[0] - expected[1]).abs().max() > 0.01  # and cells differ


@torch.no_grad()
def test_padding_changes_nothing(model, batch):
    together = model(**batch).cls_embedding
    for i, length in enumerate(batch["length"].tolist()):
        alone = model(batch["gene"][i : i + 1, :length], batch["value"][i : i + 1, :length], batch["length"][i : i + 1])
        close(alone.cls_embedding, together[i : i + 1])
    other = {**batch, "gene": batch["gene"].clone(), "value": batch["value"].clone()}
    other["gene"][1, 7:], other["value"][1, 7:] = 3, 99.0
    close(model(**other).cls_embedding, together, 0)


@torch.no_grad()
def test_a_cell_without_genes_is_its_cls_token(model):
    gene, value = torch.zeros(2, 1, dtype=torch.long), torch.zeros(2, 1)
    first, second = model(gene, value, torch.tensor([0, 0])).cls_embedding
    assert torch.isfinite(first).all() and torch.equal(first, second)


@torch.no_grad()
def test_cls_alone_is_the_same_as_in_the_full_pass(model, batch):
    masked = hidden_at(batch)
    alone = model.encode(**batch, masked=masked, cls_only=True)
    full = model.encode(**batch, masked=masked, cls_only=False)
    assert alone.shape == (3, 1, 16) and full.shape == (3, 13, 16)
    close(alone[:, 0], full[:, 0])
    close(model(**batch, decode=False).cls_embedding, alone[:, 0], 0)


@pytest.mark.parametrize("decoder", ["wced", "mlm"])
@torch.no_grad()
def test_masked_values_do_not_leak(decoder, batch):
    model = make(decoder)
    masked = hidden_at(batch, (slice(2), slice(1, 5)))
    before = model(**batch, masked=masked)
    hidden = {**batch, "value": batch["value"].masked_fill(masked, 3.3)}
    after = model(**hidden, masked=masked)
    assert torch.equal(before.cls_embedding, after.cls_embedding)
    assert all(map(torch.equal, decoded(before, decoder), decoded(after, decoder)))
    shown = {**batch, "value": batch["value"].masked_fill(~masked, 3.3)}
    assert not torch.equal(before.cls_embedding, model(**shown, masked=masked).cls_embedding)
    # The gene of a masked position stays visible.
    other = {**batch, "gene": batch["gene"].roll(1, dims=1)}
    assert not torch.allclose(before.cls_embedding[0], model(**other, masked=masked).cls_embedding[0], atol=1e-4)


def test_zero_has_a_token_of_its_own(model):
    embedding = model.embedding
    gene, none = torch.tensor([[1, 2, 3]]), torch.zeros(1, 3, dtype=torch.bool)
    value = torch.tensor([[0.0, 1e-3, 2.0]])
    tokens = embedding(gene, value, none)[:, 1:]
    close(tokens[0, 0], embedding.gene.weight[1] + embedding.zero)
    tokens[0, 0].sum().backward()
    assert (embedding.zero.grad == 1).all()
    assert all((p.grad == 0).all() for p in embedding.value.parameters())
    masked = torch.tensor([[True, False, True]])
    tokens = embedding(gene, value, masked)[:, 1:]
    close(tokens[0, [0, 2]], embedding.gene.weight[[1, 3]] + embedding.mask)


@torch.no_grad()
@pytest.mark.parametrize(("decoder", "shape"), [("wced", (3, G)), ("mlm", (5,))])
def test_shapes_of_what_is_decoded(decoder, shape, batch):
    masked = hidden_at(batch, (0, slice(2, 6)), (1, 0))
    output = make(decoder)(**batch, masked=masked)
    assert [tensor.shape for tensor in decoded(output, decoder)] == [shape, shape]
    assert decoded(output, "mlm" if decoder == "wced" else "wced") == (None, None)
    assert {name: logits.shape for name, logits in output.label_logits.items()} == {
        "cell_type_ontology_term_id": (3, 5),
        "with.dots": (3, 3),
    }


@torch.no_grad()
def test_masked_positions_are_decoded_in_row_major_order(batch):
    model = make("mlm")
    masked = hidden_at(batch, (0, [3, 5]), (1, 2))
    hidden = model.encode(**batch, masked=masked, cls_only=False)[:, 1:]
    logits, values = model.decoders["mlm"](torch.stack([hidden[0, 3], hidden[0, 5], hidden[1, 2]]))
    output = model(**batch, masked=masked)
    close(output.position_logits, logits)
    close(output.position_values, values)
    indexed = model(**batch, masked=masked, masked_at=masked.flatten().nonzero()[:, 0], full=False)
    assert torch.equal(indexed.position_logits, output.position_logits)


@torch.no_grad()
def test_a_model_may_have_both_decoders_and_name_hidden_genes(batch):
    model = make("mlm", hidden_genes=True)
    masked, gene_masked = hidden_at(batch, (0, 3)), hidden_at(batch, (0, 5), (1, 2))
    output = model(**batch, masked=masked, gene_masked=gene_masked)
    assert output.gene_logits.shape == (2, G) and output.position_logits.shape == (1,)
    # The gene that is hidden is not seen.
    other = {**batch, "gene": torch.where(gene_masked, 7, batch["gene"])}
    assert torch.equal(model(**other, masked=masked, gene_masked=gene_masked).gene_logits, output.gene_logits)
    shown = {**batch, "value": torch.where(gene_masked, 2.2, batch["value"])}
    assert not torch.equal(model(**shown, masked=masked, gene_masked=gene_masked).gene_logits, output.gene_logits)
    both = make(decoders=["wced", "mlm"])(**batch, masked=masked)
    assert both.values.shape == (3, G) and both.position_values.shape == (1,)
    assert make(decoders=[])(**batch).label_logits["with.dots"].shape == (3, 3)


def test_every_parameter_learns(batch):
    masked, gene_masked = hidden_at(batch, (EVERY, 1)), hidden_at(batch, (EVERY, 2))
    model = make(decoders=["wced", "mlm"], hidden_genes=True)
    output = model(**batch, masked=masked, gene_masked=gene_masked)
    tensors = [*decoded(output, "wced"), *decoded(output, "mlm"), output.gene_logits, *output.label_logits.values()]
    sum(tensor.square().sum() for tensor in tensors).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_dropout_is_in_the_label_heads_only(batch):
    model = make(head_dropout=0.5).train()
    torch.manual_seed(1)
    first, second = model(**batch), model(**batch)
    assert torch.equal(first.cls_embedding, second.cls_embedding) and torch.equal(first.values, second.values)
    assert not torch.equal(first.label_logits["with.dots"], second.label_logits["with.dots"])


def test_width_must_be_a_multiple_of_heads():
    with pytest.raises(ValueError, match="hidden_size 10 is not a multiple of num_attention_heads 4"):
        WcedConfig(hidden_size=10, num_attention_heads=4)


@pytest.mark.parametrize(
    "wrong", [{"backbone": "gpt"}, {"value_encoder": "fourier"}, {"decoders": ["wced", "clip"]}], ids=str
)
def test_unknown_words_are_refused(wrong):
    with pytest.raises(ValueError, match="is none of"):
        WcedConfig(**wrong)


@torch.no_grad()
@pytest.mark.parametrize("decoder", ["wced", "mlm"])
def test_each_head_reads_its_own_cls_position(decoder, batch):
    heads = [{**HEADS[0], "cls_position": 2}, {**HEADS[1], "cls_position": 1}]
    model = make(decoder, cls_positions=3)
    model.config.label_heads = heads
    masked = hidden_at(batch, (EVERY, 0))
    output = model(**batch, masked=masked)
    hidden = model.encode(**batch, masked=masked, cls_only=False)
    assert hidden.shape == (3, 3 + 12, 16)
    close(output.cls_nkd, hidden[:, :3])
    close(output.cls_embedding, hidden[:, 0])
    for head, (layers, position) in zip(heads, zip(model.label_heads, (2, 1), strict=True), strict=True):
        close(output.label_logits[head["column"]], layers(hidden[:, position]))
    # Expression is decoded from the first position, or from the masked genes, which come after all CLS positions.
    at = hidden[:, 0] if decoder == "wced" else hidden[:, 3]
    for part, expected in zip(decoded(output, decoder), model.decoders[decoder](at), strict=True):
        close(part, expected)
    # The positions are no copies of each other.
    assert (output.cls_nkd[:, 0] - output.cls_nkd[:, 1]).abs().max() > 1e-3
    alone = model(**{name: tensor[1:2] for name, tensor in batch.items()}, masked=masked[1:2])
    close(alone.cls_nkd, output.cls_nkd[1:2])


@pytest.mark.parametrize("backbone", ["llama", "bert", "modernbert"])
@torch.no_grad()
def test_attention_may_be_chosen_as_in_transformers(backbone, batch, monkeypatch, tmp_path):
    model = make(backbone=backbone)
    assert model.config._attn_implementation == "sdpa"
    model.save_pretrained(tmp_path)
    eager = WcedModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    flash, fused = [], F.scaled_dot_product_attention

    def attention(*arguments, **options):
        flash.append(torch.backends.cuda.flash_sdp_enabled())
        return fused(*arguments, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    expected = model(**batch).cls_embedding
    assert all(flash) and len(flash) == 3
    close(eager(**batch).cls_embedding, expected)
    assert not any(flash[3:])
    eager.set_attn_implementation("sdpa")
    close(eager(**batch).cls_embedding, expected, 0)


@pytest.mark.parametrize("backbone", ["nystromformer", "performer"])
def test_attention_that_a_backbone_approximates_cannot_be_chosen(backbone, tmp_path):
    model = make(backbone=backbone)
    model.save_pretrained(tmp_path)
    WcedModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"attn_implementation: backbone {backbone} approximates attention"):
        WcedModel.from_pretrained(tmp_path, attn_implementation="sdpa")


@pytest.mark.parametrize("backbone", ["llama", "bert", "modernbert", "nystromformer", "performer"])
@pytest.mark.parametrize("options", [None, {"use_reentrant": True}], ids=["default", "reentrant"])
def test_gradient_checkpointing_is_switched_as_in_transformers(backbone, options, batch, monkeypatch):
    model, calls = make(backbone=backbone).train(), []
    for layer in layers_of(model.backbone, 3):
        first = next(module for module in layer.modules() if isinstance(module, nn.Linear))
        first.register_forward_pre_hook(lambda *_: calls.append(1))

    def gradients():
        model.zero_grad()
        calls.clear()
        model(**batch).cls_embedding.square().sum().backward()
        return len(calls), model.embedding.gene.weight.grad.clone()

    plain, expected = gradients()
    model.gradient_checkpointing_enable(options)
    assert model.is_gradient_checkpointing
    again, gradient = gradients()
    assert (plain, again) == (3, 6)  # in the backward pass once more
    close(gradient, expected)
    model.gradient_checkpointing_disable()
    assert gradients()[0] == 3 and not model.is_gradient_checkpointing


@torch.no_grad()
def test_input_vectors_may_replace_genes(batch):
    model = make("mlm")
    masked = hidden_at(batch, (EVERY, 0))
    expected, vectors = model(**batch, masked=masked), model.embedding(batch["gene"], batch["value"], masked)
    output = model(inputs_embeds=vectors, length=batch["length"], masked=masked)
    assert torch.equal(output.cls_embedding, expected.cls_embedding)
    assert torch.equal(output.position_values, expected.position_values)
    whole = model(inputs_embeds=vectors).cls_embedding
    close(whole[0], expected.cls_embedding[0])
    assert not torch.allclose(whole[1], expected.cls_embedding[1], atol=1e-4)  # whose padding is now read
    for wrong in ({}, batch | {"inputs_embeds": vectors}):
        with pytest.raises(ValueError, match="give either gene and value, or inputs_embeds"):
            model(**wrong)


@torch.no_grad()
def test_the_table_of_genes_is_the_input_embedding(batch):
    model = make()
    before = model(**batch).cls_embedding
    assert model.get_input_embeddings() is model.embedding.gene
    model.set_input_embeddings(nn.Embedding.from_pretrained(model.embedding.gene.weight.flip(0)))
    assert not torch.allclose(model(**batch).cls_embedding, before, atol=1e-4)
    with pytest.raises(ValueError, match=r"input embeddings: \(9, 16\) in place of \(40, 16\); the vocabulary of"):
        model.set_input_embeddings(nn.Embedding(9, 16))
    with pytest.raises(NotImplementedError, match=r"no table has them all; model\.embedding\.genes returns"):
        make(given_genes=3, given_width=4).get_input_embeddings()
