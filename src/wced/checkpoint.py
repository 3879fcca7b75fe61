"""The checkpoint folder: a Hugging Face model with the genes, labels and ontology that give it meaning."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from wced.errors import WcedError
from wced.files import existing
from wced.model.configuration import READABLE, WcedConfig
from wced.model.modeling import WcedModel
from wced.ontology.cut import OntologyCut
from wced.shards.input_genes import InputGenes
from wced.shards.vocabulary import Labels, Vocabulary

# Reading and writing a folder takes a moment; Transformers would print a progress bar, also into logs.
transformers_logging.disable_progress_bar()

AutoConfig.register(WcedConfig.model_type, WcedConfig, exist_ok=True)
AutoModel.register(WcedConfig, WcedModel, exist_ok=True)

FILES = (
    *("config.json", "model.safetensors", "vocabulary.tsv", "input_genes.tsv", "labels.json", "ontology.json"),
    "README.md",
)
"""Files of a checkpoint's folder; no others are fetched or read."""


@dataclass(frozen=True)
class Checkpoint:
    """A model and what its numbers mean."""

    model: WcedModel
    vocabulary: Vocabulary
    """Genes, in the order of the model's ids."""
    labels: Labels
    """Classes of every label column."""
    ontology: OntologyCut | None
    """The Cell Ontology of the training labels; None for a model without a hierarchical head."""
    input_genes: InputGenes
    """How often training cells express each gene, and which genes belong to the groups of the input."""


def save(checkpoint: Checkpoint, folder: str | Path, card: str | None = None) -> None:
    """Write the files of a checkpoint, with its model card, into an existing folder."""
    folder = Path(folder)
    checkpoint.model.save_pretrained(folder)
    if card is not None:
        (folder / "README.md").write_text(card)
    checkpoint.vocabulary.write(folder / "vocabulary.tsv")
    checkpoint.input_genes.write(folder / "input_genes.tsv", checkpoint.vocabulary)
    checkpoint.labels.write(folder / "labels.json")
    if checkpoint.ontology is not None:
        (folder / "ontology.json").write_text(json.dumps(checkpoint.ontology.to_json(), indent=1) + "\n")


def found(name: str | Path) -> Path:
    """Return the folder of a checkpoint: a path, or `owner/name[@revision]` on the Hugging Face hub, which is fetched.

    WcedError is raised if there is neither such a folder nor such a model on the hub.
    """
    if Path(name).is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", str(name)):
        return Path(name)
    from huggingface_hub import snapshot_download

    repository, _, revision = str(name).partition("@")
    options = {"allow_patterns": list(FILES), "endpoint": os.environ.get("HF_ENDPOINT")}
    try:
        return Path(snapshot_download(repository, revision=revision or None, **options))
    except (OSError, ValueError) as failure:  # the hub's errors are among these
        reason = str(failure).strip().partition("\n")[0]
        raise WcedError(f"{name}: no such folder, and not on the model hub: {reason}") from None


def load(name: str | Path) -> Checkpoint:
    """Return a checkpoint in evaluation mode: a folder, or `owner/name[@revision]` on the Hugging Face hub.

    Weights come from safetensors only; no pickle is ever opened. WcedError is raised if a file is missing, of another
    format version, damaged, or does not fit the others.
    """
    folder = found(name)
    try:
        settings = json.loads(existing(folder / "config.json", "a checkpoint's config").read_text())
    except ValueError:
        settings = None
    if fault := _fault(settings):
        raise WcedError(f"{folder / 'config.json'}: {fault}")
    vocabulary = Vocabulary.read(folder / "vocabulary.tsv")
    if vocabulary.sha256 != settings["vocabulary_sha256"]:
        raise WcedError(f"{folder / 'vocabulary.tsv'}: not the vocabulary that the model was trained with")
    labels, ontology = Labels.read(folder / "labels.json"), None
    if any(head["loss"] == "hierarchical" for head in settings["label_heads"]):
        ontology = OntologyCut.read(folder / "ontology.json")
    genes = InputGenes.read(folder / "input_genes.tsv", vocabulary)
    return Checkpoint(_read_model(folder).eval(), vocabulary, labels, ontology, genes)


def _fault(settings: Any) -> str | None:
    """Return what is wrong with the content of a config.json."""
    if not isinstance(settings, dict):
        return "not a checkpoint's config"
    if settings.get("model_type") != WcedConfig.model_type:
        return f"model_type is {settings.get('model_type')}, not wced"
    if settings.get("format_version") not in READABLE:
        return f"format version {settings.get('format_version')}, this program reads {' and '.join(map(str, READABLE))}"
    if not isinstance(settings.get("vocabulary_sha256"), str):
        return "has no vocabulary_sha256"
    words, losses, heads = (settings.get(key) for key in ("readout", "losses", "label_heads"))
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return "readout is a list of words"
    if losses is not None and not isinstance(losses, dict):
        return "losses is a mapping of names to where each reads, or null"
    if not isinstance(heads, list) or not all({"column", "loss", "classes"} <= set(head) for head in heads):
        return "label_heads is a list of heads, each with column, loss and classes"
    return None


def _read_model(folder: Path) -> WcedModel:
    """Read the weights; refuse those that Transformers would complete at random."""
    path = existing(folder / "model.safetensors", "the weights of a checkpoint")
    try:
        model, info = WcedModel.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    except SafetensorError as failure:
        raise WcedError(f"{path}: not whole: {failure}") from None
    except RuntimeError:
        raise WcedError(f"{path}: does not fit config.json: weights of another shape") from None
    except (TypeError, ValueError) as failure:
        raise WcedError(f"{folder / 'config.json'}: not a checkpoint's config: {failure}") from None
    for what in ("missing_keys", "unexpected_keys"):
        if info[what]:
            raise WcedError(f"{path}: does not fit config.json: {what.replace('_', ' ')}, such as {min(info[what])}")
    return model
