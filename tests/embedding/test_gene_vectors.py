import numpy as np
import pandas as pd
import pytest
import torch

from wced import cli, tables
from wced.checkpoint import Checkpoint, save
from wced.embedding import corpus_pca, gene_vectors
from wced.embedding.files import read_embedding
from wced.errors import WcedError
from wced.genes.embeddings import read_gene_embeddings
from wced.model import WcedConfig, WcedModel
from wced.shards.input_genes import InputGenes
from wced.shards.reader import ShardSet
from wced.shards.vocabulary import Labels, Vocabulary


def checkpoint(vocabulary, decoders, **changes):
    torch.manual_seed(4)
    config = WcedConfig(
        vocabulary_size=len(vocabulary), vocabulary_sha256=vocabulary.sha256, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, value_frequencies=4, decoder_width=8, decoders=decoders,
        label_heads=[], input={"length": 24}, **changes,
    )  # fmt: skip
    genes = InputGenes(np.full(len(vocabulary), 0.5))
    return Checkpoint(WcedModel(config).eval(), vocabulary, Labels({}, {}), None, genes)


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture(scope="module")
def annotation(shards):
    empty = {"str": "x", "bool": False, "float": 0.5}
    frame = pd.DataFrame({"gene_id": shards.vocabulary.gene_ids[1:]})
    for column in tables.GENE_ANNOTATION.columns[1:]:
        frame[column.name] = empty[column.kind]
    return frame


@pytest.fixture(scope="module")
def components(shards):
    return corpus_pca.fit(shards, 5, 100_000, 0)


def test_vectors_are_those_of_the_model_in_the_order_of_the_vocabulary(shards, annotation, components, tmp_path):
    models = {"m": checkpoint(shards.vocabulary, ["mlm"]), "w": checkpoint(shards.vocabulary, ["wced"])}
    starts = {"w_step_0": checkpoint(shards.vocabulary, ["wced"])}
    names = gene_vectors.write_all(tmp_path, models, starts, components, shards, annotation, seed=3)
    assert names == ["m", "w", "w_decoder", "w_step_0", "untrained", "random", "coexpression_pca", "frequency"]
    found = {name: read_embedding(tmp_path / f"{name}.h5ad") for name in names}
    for name, embedding in found.items():
        assert embedding.obs_names.tolist() == list(shards.vocabulary.gene_ids), name
    table = models["m"].model.embedding.gene.weight.detach().numpy()
    np.testing.assert_array_equal(found["m"].X, table)
    begun = starts["w_step_0"].model.embedding.gene.weight.detach().numpy()
    np.testing.assert_array_equal(found["w_step_0"].X, begun)
    decoder = models["w"].model.decoders["wced"]
    both = np.hstack([decoder.detection.weight.detach().numpy(), decoder.value.weight.detach().numpy()])
    np.testing.assert_array_equal(found["w_decoder"].X, both)
    assert found["w_decoder"].uns["wced"]["n_params"] == both.size and found["random"].uns["wced"]["n_params"] == 0
    assert not np.array_equal(found["untrained"].X, table) and found["untrained"].shape == table.shape
    np.testing.assert_array_equal(found["coexpression_pca"].X, components.loading_vk)

    cells = shards.take(shards.places("train"))
    expressing = np.bincount(cells.gene, minlength=len(shards.vocabulary))
    obs = found["m"].obs
    assert obs["train_cells"].tolist() == expressing.tolist()
    np.testing.assert_allclose(found["frequency"].X[:, 0], np.log1p(expressing), rtol=1e-6)
    assert obs["family"].tolist()[:2] == ["unknown", "x"]  # the first gene has no annotation
    assert (
        np.isnan(obs["tissue_specificity_tau"].iloc[0]) and obs["gene_symbol"].iloc[0] == shards.vocabulary.symbols[0]
    )


def test_exported_vectors_can_be_given_to_another_model(shards, annotation, components, tmp_path):
    gene_vectors.write_all(
        tmp_path, {"m": checkpoint(shards.vocabulary, ["mlm"])}, {}, components, shards, annotation, seed=3
    )
    matrix_gw, has_row_v = read_gene_embeddings(tmp_path / "m.h5ad", shards.vocabulary.gene_ids)
    assert has_row_v.all() and matrix_gw.shape == (len(shards.vocabulary), 16)


def test_given_vectors_are_exported_as_the_model_reads_them():
    vocabulary = Vocabulary(("A", "B", "C"), ("a", "b", "c"))
    model = checkpoint(vocabulary, ["mlm"], given_genes=2, given_width=3)
    model.model.embedding.give(torch.randn(2, 3), torch.tensor([True, False, True]), 0.02)
    (found,) = gene_vectors.vectors_of("m", model)
    expected = model.model.embedding.genes(torch.tensor([[2], [1], [0]])).detach().numpy()[::-1, 0]
    np.testing.assert_allclose(found.x_gd, expected, rtol=1e-5)


def test_other_vocabularies_are_refused(shards, annotation, components, tmp_path):
    other = checkpoint(Vocabulary(("A",), ("a",)), ["mlm"])
    with pytest.raises(WcedError, match="m: of another vocabulary than the shards"):
        gene_vectors.write_all(tmp_path, {"m": other}, {}, components, shards, annotation, seed=3)


def test_commands(shards, annotation, components, made, tmp_path, monkeypatch):
    for kind in ("model", "step_0"):
        (tmp_path / "w" / kind).mkdir(parents=True)
        save(checkpoint(shards.vocabulary, ["wced"]), tmp_path / "w" / kind)
    components.write(tmp_path / "pca.npz")
    tables.write(annotation, tables.GENE_ANNOTATION, tmp_path / "annotation.parquet")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["wced", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0

    run(
        "gene-embeddings", tmp_path / "w", "--step-0", tmp_path / "w", "--shards", made.shards,
        "--components", tmp_path / "pca.npz", "--annotation", tmp_path / "annotation.parquet",
        "--output", tmp_path / "genes",
    )  # fmt: skip
    files = [tmp_path / "genes" / f"{name}.h5ad" for name in ("w", "w_decoder", "w_step_0", "frequency")]
    run("score-genes", *files, "--section", "{}", "--run", "r", "--output", tmp_path / "scores.tsv")
    scores = tables.read(tables.SCORES, tmp_path / "scores.tsv")
    assert list(dict.fromkeys(scores["model"])) == ["w", "w_decoder", "w_step_0", "frequency"]
    assert set(scores["dataset"]) == {"genes"}
