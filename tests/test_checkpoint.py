import hashlib
import json
import pickle
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote

import huggingface_hub
import numpy as np
import pytest
import torch
from transformers import AutoModel

from wced.checkpoint import Checkpoint, load, save
from wced.errors import WcedError
from wced.model import WcedConfig, WcedModel
from wced.ontology.cut import OntologyCut
from wced.shards.input_genes import InputGenes
from wced.shards.vocabulary import Labels, Vocabulary

VOCABULARY = Vocabulary(("E1", "E2", "E3", "E4"), ("A", "B", "NA", "D"))
LABELS = Labels({"donor_id": ("a:1", "a:2")}, {"donor_id": {}})
ONTOLOGY = OntologyCut(("CL:0", "CL:1", "CL:2"), ("cell", "one", "two"), ((), (0,), (0,)))


@pytest.fixture
def checkpoint():
    torch.manual_seed(4)
    config = WcedConfig(
        vocabulary_size=4, vocabulary_sha256=VOCABULARY.sha256, hidden_size=8, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=8, value_frequencies=3, decoder_width=4,
        label_heads=[{"column": "cell_type_ontology_term_id", "loss": "hierarchical", "classes": 2}],
        input={"length": 3},
    )  # fmt: skip
    genes = InputGenes(np.array([0.25, 0.5, 1 / 3, 0.0]), {"ribosomal": np.array([True, False, False, True])})
    return Checkpoint(WcedModel(config), VOCABULARY, LABELS, ONTOLOGY, genes)


@pytest.fixture
def folder(checkpoint, tmp_path):
    save(checkpoint, tmp_path)
    return tmp_path


def same_weights(left, right):
    left, right = left.state_dict(), right.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_round_trip_is_exact(checkpoint, folder):
    loaded = load(folder)
    assert same_weights(loaded.model, checkpoint.model)
    assert not loaded.model.training
    assert (loaded.vocabulary, loaded.labels, loaded.ontology) == (VOCABULARY, LABELS, ONTOLOGY)
    assert loaded.model.config.label_heads == checkpoint.model.config.label_heads
    assert loaded.model.config.input == {"length": 3}
    np.testing.assert_array_equal(loaded.input_genes.frequency_v, checkpoint.input_genes.frequency_v)
    assert loaded.input_genes.groups["ribosomal"].tolist() == [True, False, False, True]


def test_a_folder_without_other_names_of_genes_is_read(checkpoint, folder):
    named = replace(checkpoint, vocabulary=replace(VOCABULARY, names=("A|OLD", "B", "NA", "")))
    save(named, folder)
    assert load(folder).vocabulary == named.vocabulary and load(folder).model.config.format_version == 5
    VOCABULARY.write(folder / "vocabulary.tsv")
    change_config(format_version=4)(folder)
    assert load(folder).vocabulary == VOCABULARY


def test_residual_leaves_go_with_a_folder(checkpoint, tmp_path):
    deeper = OntologyCut(("CL:0", "CL:1", "CL:2"), ("cell", "one", "two"), ((), (0,), (1,)), residuals=(1,))
    save(replace(checkpoint, ontology=deeper), tmp_path)
    assert load(tmp_path).ontology == deeper


def test_transformers_opens_it(checkpoint, folder):
    model = AutoModel.from_pretrained(folder)
    assert isinstance(model, WcedModel) and same_weights(model, checkpoint.model)


def test_the_folder_holds_no_pickle(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "input_genes.tsv", "labels.json", "model.safetensors", "ontology.json", "vocabulary.tsv",
    ]  # fmt: skip


def test_saved_twice_has_the_same_bytes(checkpoint, folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    save(checkpoint, other)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {p.name: p.read_bytes() for p in other.iterdir()}


def test_a_model_without_a_hierarchy_has_no_ontology(checkpoint, tmp_path):
    head = {"column": "donor_id", "loss": "focal", "classes": 2}
    config = WcedConfig.from_dict(checkpoint.model.config.to_dict() | {"label_heads": [head]})
    save(Checkpoint(WcedModel(config), VOCABULARY, LABELS, None, checkpoint.input_genes), tmp_path)
    assert load(tmp_path).ontology is None


def change_config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def only_a_pickle(folder):
    """A checkpoint as others write them, whose weights would run code when they are read."""
    (folder / "model.safetensors").unlink()

    class Harmful:
        def __reduce__(self):
            return (folder / "harm").touch, ()

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful()))


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def without(name):
    return lambda folder: (folder / name).unlink()


def config_text(text):
    return lambda folder: (folder / "config.json").write_text(text)


def foreign_vocabulary(folder):
    Vocabulary(("E1", "E2", "E4", "E3"), tuple("ABCD")).write(folder / "vocabulary.tsv")


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (without("config.json"), "config.json", "no such file"),
        (without("model.safetensors"), "model.safetensors", "no such file"),
        (without("vocabulary.tsv"), "vocabulary.tsv", "no such file"),
        (without("labels.json"), "labels.json", "no such file"),
        (without("ontology.json"), "ontology.json", "no such file"),
        (config_text("{"), "config.json", "not a checkpoint's config"),
        (config_text("[]"), "config.json", "not a checkpoint's config"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"12345678x"), "model.safetensors", "not whole"),
        (truncated, "model.safetensors", "not whole"),
        (only_a_pickle, "model.safetensors", "no such file"),
        (foreign_vocabulary, "vocabulary.tsv", "not the vocabulary that the model was trained with"),
        (change_config(model_type="bert"), "config.json", "model_type is bert, not wced"),
        (change_config(backbone="gpt"), "config.json", "'gpt' is none of bert, llama"),
        (change_config(format_version=8), "config.json", "format version 8, this program reads 4 and 5"),
        (change_config(readout="cls"), "config.json", "readout is a list of words"),
        (change_config(losses=["wced"]), "config.json", "losses is a mapping of names to where each reads"),
        (change_config(hidden_size=16), "model.safetensors", "does not fit config.json: weights of another shape"),
        (change_config(num_hidden_layers=3), "model.safetensors", "does not fit config.json: missing keys"),
        (change_config(num_hidden_layers=1), "model.safetensors", "does not fit config.json: unexpected keys"),
    ],
    ids=[
        "no_config", "no_weights", "no_vocabulary", "no_labels", "no_ontology", "broken_config", "list",
        "broken_weights", "truncated", "pickle", "foreign_vocabulary", "other_model", "backbone", "format_version",
        "readout", "losses", "other_shape", "more_layers", "fewer_layers",
    ],
)  # fmt: skip
def test_folders_that_do_not_fit_are_refused_in_one_sentence(folder, damage, file, message):
    damage(folder)
    with pytest.raises(WcedError, match=f"^{re.escape(str(folder / file))}: .*{message}") as refusal:
        load(folder)
    assert "\n" not in str(refusal.value)
    assert not (folder / "harm").exists()


class Hub(BaseHTTPRequestHandler):
    """A model hub with one repository, as far as `huggingface_hub` reads it."""

    files: ClassVar[dict[str, bytes]] = {}
    paths: ClassVar[list[str]] = []
    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        path = unquote(self.path.partition("?")[0])
        self.paths.append(path)
        name = path.rpartition("/")[2]
        if path.startswith("/api/models/lab/model/revision/"):
            content, kind = json.dumps({"id": "lab/model", "sha": self.COMMIT, "siblings": []}).encode(), "json"
        elif path == f"/api/models/lab/model/tree/{self.COMMIT}":
            tree = [
                {"type": "file", "path": file, "oid": hashlib.sha1(content).hexdigest(), "size": len(content)}
                for file, content in self.files.items()
            ]
            content, kind = json.dumps(tree).encode(), "json"
        elif path == f"/lab/model/resolve/{self.COMMIT}/{name}" and name in self.files:
            content, kind = self.files[name], "octet-stream"
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        for header, value in {
            "Content-Type": f"application/{kind}", "Content-Length": len(content), "X-Repo-Commit": self.COMMIT,
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
        }.items():  # fmt: skip
            self.send_header(header, str(value))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def hub(folder, tmp_path_factory, monkeypatch):
    Hub.files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"pytorch_model.bin": b"a pickle"}
    Hub.paths = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_model_of_the_hub_is_fetched_without_its_pickles(hub, checkpoint):
    for name in ("lab/model", "lab/model@v2"):
        assert same_weights(load(name).model, checkpoint.model)
    assert any(path.endswith("/revision/v2") for path in hub.paths)
    assert not any(path.endswith(".bin") for path in hub.paths)


def test_a_model_that_does_not_exist_is_named(hub):
    with pytest.raises(WcedError, match=r"^lab/other: no such folder, and not on the model hub: ") as error:
        load("lab/other")
    assert "\n" not in str(error.value)
