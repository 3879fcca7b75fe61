import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wced.errors import WcedError
from wced.model import WcedConfig, WcedModel
from wced.model.embedding import CellEmbedding

G, D, BINS = 20, 8, 5
ENCODERS = ["periodic", "mlp", "table"]
METADATA = [{"column": "tissue", "classes": 3}, {"column": "assay", "classes": 2}]
HAS_ROW = torch.arange(G) % 3 == 1


def config(**changes):
    return WcedConfig(
        **{
            "vocabulary_size": G, "hidden_size": D, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 12, "decoder_width": 8, "value_frequencies": 4, "cls_positions": 2,
            "input": {"values": "bins", "bins": BINS},
        } | changes
    )  # fmt: skip


def make(**changes):
    torch.manual_seed(0)
    embedding = CellEmbedding(config(**changes))
    embedding.initialise_tokens(1.0)
    if embedding.given_genes:
        embedding.give(torch.randn(int(HAS_ROW.sum()), 3) * 50, HAS_ROW, 1.0)
    return embedding


def cells(seed=0, n=3, length=7, states=2):
    """Random cells of which everything that can be hidden, zero, unknown or in a state is so somewhere."""
    rng = np.random.default_rng(seed)
    arrays = {
        "gene_nl": np.stack([rng.permutation(G)[:length] for _ in range(n)]),
        "value_nl": rng.integers(0, BINS + 1, (n, length)).astype(np.float32),
        "masked_nl": rng.random((n, length)) < 0.3,
        "gene_masked_nl": rng.random((n, length)) < 0.3,
        "gene_state_nl": rng.integers(0, states + 1, (n, length), np.int8),
        "metadata_nm": rng.integers(-1, [column["classes"] for column in METADATA], (n, len(METADATA))),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def close(left, right, tolerance=1e-5):
    torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


def encoded(encoder, value):
    """The encoding of one value, by the formulas, in float64."""
    x = torch.tensor(float(value), dtype=torch.double)
    parameters = {name: tensor.double() for name, tensor in encoder.named_parameters()}
    if "table.weight" in parameters:
        return parameters["table.weight"][int(value) - 1]
    if "frequency" in parameters:
        phase = 2 * torch.pi * x * parameters["frequency"]
        hidden = torch.cat([phase.sin(), phase.cos()])
    else:
        hidden = parameters["hidden.weight"][:, 0] * x + parameters["hidden.bias"]
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
    return parameters["project.weight"] @ hidden + parameters["project.bias"]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("given_genes", [0, int(HAS_ROW.sum())], ids=["learned", "given"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), norm=st.booleans())
@torch.no_grad()
def test_input_is_the_sum_of_its_parts(encoder, given_genes, seed, norm):
    embedding = make(
        value_encoder=encoder, embedding_norm=norm, metadata=METADATA, gene_states=["up", "down"],
        given_genes=given_genes, given_width=3,
    )  # fmt: skip
    batch = cells(seed)
    n, length = batch["gene_nl"].shape
    expected = torch.zeros(n, 2 + length, D, dtype=torch.double)
    learned, rows = ((~HAS_ROW).cumsum(0) - 1, HAS_ROW.cumsum(0) - 1)
    for i in range(n):
        codes = batch["metadata_nm"][i].tolist()
        known = [table.weight[code + 1] for table, code in zip(embedding.metadata, codes, strict=True)]
        expected[i, :2] = embedding.cls.double() + sum(vector.double() for vector in known)
        for j in range(length):
            gene, state = int(batch["gene_nl"][i, j]), int(batch["gene_state_nl"][i, j])
            if batch["gene_masked_nl"][i, j]:
                vector = embedding.gene_mask.double()
            elif not given_genes:
                vector = embedding.gene.weight[gene].double()
            elif HAS_ROW[gene]:
                project = copy.deepcopy(embedding.given_project).double()
                vector = project(embedding.given_gw[rows[gene]].double())
            else:
                vector = embedding.gene.weight[learned[gene]].double()
            value = float(batch["value_nl"][i, j])
            if batch["masked_nl"][i, j]:
                vector = vector + embedding.mask.double()
            elif value == 0:
                vector = vector + embedding.zero.double()
            else:
                vector = vector + encoded(embedding.value, value)
            expected[i, 2 + j] = vector + (embedding.state[state - 1].double() if state else 0)
    if norm:
        centred = expected - expected.mean(-1, keepdim=True)
        expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    close(embedding(**batch).double(), expected, 2e-5)


@torch.no_grad()
def test_inputs_left_out_are_not_hidden_stateless_and_unknown():
    embedding = make(metadata=METADATA, gene_states=["up"])
    batch = cells(states=1)
    for name, nothing in [("masked_nl", False), ("gene_masked_nl", False), ("gene_state_nl", 0), ("metadata_nm", -1)]:
        close(
            embedding(**{key: tensor for key, tensor in batch.items() if key != name}),
            embedding(**batch | {name: torch.full_like(batch[name], nothing)}),
            0,
        )


@pytest.mark.parametrize("encoder", ENCODERS)
def test_hidden_values_and_genes_leave_no_trace(encoder):
    embedding = make(value_encoder=encoder)
    batch = cells() | {"gene_state_nl": None, "metadata_nm": None}
    before = embedding(**batch)
    value = torch.where(batch["masked_nl"], 3.3, batch["value_nl"])
    gene = torch.where(batch["gene_masked_nl"], 5, batch["gene_nl"])
    assert torch.equal(embedding(**batch | {"value_nl": value, "gene_nl": gene}), before)
    # Neither forwards nor backwards.
    batch["masked_nl"][:] = batch["gene_masked_nl"][:] = True
    embedding(**batch).sum().backward()
    silent = [*embedding.value.parameters(), embedding.gene.weight, embedding.zero]
    assert not any(parameter.grad.any() for parameter in silent)
    assert (embedding.mask.grad == 21).all() and (embedding.gene_mask.grad == 21).all()


def test_every_parameter_is_part_of_every_pass():
    """Ranks that train together wait for the gradient of each parameter, also where a batch hides nothing."""
    embedding = make(metadata=METADATA, gene_states=["up"], given_genes=int(HAS_ROW.sum()), given_width=3)
    batch = cells()
    embedding(batch["gene_nl"], batch["value_nl"]).square().sum().backward()
    assert [name for name, parameter in embedding.named_parameters() if parameter.grad is None] == []
    unknown = [table.weight.grad.any(dim=1).tolist() for table in embedding.metadata]
    assert unknown == [[True, False, False, False], [True, False, False]]


@torch.no_grad()
def test_genes_without_a_row_learn_theirs():
    embedding = make(given_genes=int(HAS_ROW.sum()), given_width=3)
    assert embedding.gene.weight.shape == (int((~HAS_ROW).sum()), D)
    genes = torch.arange(G)[None]
    vectors = embedding.genes(genes)[0]
    close(vectors[~HAS_ROW], embedding.gene.weight, 0)
    close(vectors[HAS_ROW], embedding.given_project(embedding.given_gw), 1e-6)
    # The same whether positions or the whole matrix are projected.
    few = genes[:, 2:6]
    assert few.numel() < embedding.given_genes <= genes.numel()
    close(embedding.genes(few)[0], vectors[2:6], 1e-6)
    # All genes may have a row.
    embedding, matrix = CellEmbedding(config(given_genes=G, given_width=3)), torch.randn(G, 3)
    embedding.give(matrix, torch.ones(G, dtype=torch.bool), 1.0)
    close(embedding.genes(genes)[0], embedding.given_project(matrix), 1e-6)


@torch.no_grad()
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_given_vectors_start_as_long_as_learned_ones(scale):
    torch.manual_seed(0)
    embedding = CellEmbedding(config(vocabulary_size=3000, hidden_size=64, given_genes=2000, given_width=100))
    has_row = torch.randperm(3000) < 2000
    embedding.give(torch.randn(2000, 100) * scale, has_row, 0.2)
    vectors = embedding.genes(torch.arange(3000)[has_row][None])
    assert abs(vectors.std() - 0.2) < 0.01


@pytest.mark.parametrize("trainable", [False, True], ids=["fixed", "trainable"])
def test_given_vectors_and_frequencies_train_only_if_they_should(trainable, tmp_path):
    torch.manual_seed(0)
    size = {"given_genes": int(HAS_ROW.sum()), "given_width": 3}
    model = WcedModel(config(given_trainable=trainable, trainable_frequencies=trainable, **size))
    model.embedding.give(torch.randn(size["given_genes"], 3), HAS_ROW, 1.0)
    model.save_pretrained(tmp_path)
    reloaded = WcedModel.from_pretrained(tmp_path)
    batch = {"gene": cells()["gene_nl"], "value": cells()["value_nl"], "length": torch.tensor([7, 7, 7])}
    with torch.no_grad():
        close(reloaded(**batch).cls_nkd, model.eval()(**batch).cls_nkd, 0)
    before = reloaded.embedding.given_gw.clone(), reloaded.embedding.value.frequency.clone()
    optimiser = torch.optim.SGD(reloaded.parameters(), 1.0)
    reloaded(**batch).cls_nkd.square().sum().backward()
    optimiser.step()
    after = reloaded.embedding.given_gw, reloaded.embedding.value.frequency
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [not trainable] * 2


@torch.no_grad()
def test_values_outside_the_bins_count_as_the_nearest():
    encoder = make(value_encoder="table").value
    close(encoder(torch.tensor([[0.0, 1.0, BINS, 99.0]]))[0], encoder.table.weight[[0, 0, BINS - 1, BINS - 1]], 0)


@pytest.mark.parametrize(("read", "values"), [({"values": "ranks"}, "ranks"), ({}, "None")])
def test_a_table_needs_bins(read, values):
    with pytest.raises(WcedError, match=f"value_encoder table needs input.values bins, not {values}"):
        CellEmbedding(config(value_encoder="table", input=read))


@torch.no_grad()
def test_phases_are_float32_in_a_bfloat16_model():
    embedding = make(value_encoder="periodic")
    value = torch.tensor([[7.123, 7.124]])
    phase = 2 * torch.pi * value.double()[..., None] * embedding.value.frequency.double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(embedding.value.features(value)[..., :4].double(), phase.sin(), 1e-4)
        # The residual stream keeps its precision.
        assert embedding(torch.tensor([[1, 2]]), value).dtype == torch.float32
    embedding = embedding.bfloat16()
    phase = 2 * torch.pi * value.double()[..., None] * embedding.value.frequency.double()
    close(embedding.value.features(value)[..., :4].double(), phase.sin(), 1e-4)
    assert embedding(torch.tensor([[1, 2]]), value).dtype == torch.bfloat16


def test_parameters_by_part_are_all_parameters():
    heads = [{"column": "with.dots", "loss": "focal", "classes": 3, "cls_position": 1}]
    model = WcedModel(
        config(
            decoders=["wced", "mlm"], label_heads=heads, metadata=METADATA, gene_states=["up"], embedding_norm=True,
            given_genes=int(HAS_ROW.sum()), given_width=3,
        )
    )  # fmt: skip
    parts = model.parameters_by_part()
    assert sum(parts.values()) == model.num_parameters()
    learned = int((~HAS_ROW).sum())
    assert parts["gene embedding"] == (learned + 1 + 1 + 2) * D + (3 + 1) * D  # token, state, norm; given_project
    assert parts["value encoder"] == 4 + (8 + 1) * D + 2 * D
    assert parts["metadata"] == (4 + 3) * D + 2 * D
    for name in ("backbone", "decoders"):
        assert parts[name] == sum(parameter.numel() for parameter in getattr(model, name).parameters())
    assert parts["heads"] == (D + 1) * D + (D + 1) * 3
    assert model.encoder_parameters == model.num_parameters() - parts["decoders"] - parts["heads"]
