"""The checkpoint folder: a Hugging Face model with the genes, labels and ontology that give it meaning."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

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

# A folder is read and written in a moment; Transformers would show a bar for it, also in logs.
transformers_logging.disable_progress_bar()

AutoConfig.register(WcedConfig.model_type, WcedConfig, exist_ok=True)
AutoModel.register(WcedConfig, WcedModel, exist_ok=True)


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
    """What the training cells say of the genes of the input."""


FILES = (
    *("config.json", "model.safetensors", "vocabulary.tsv", "input_genes.tsv", "labels.json", "ontology.json"),
    "README.md",
)
"""What a checkpoint's folder may hold; nothing else is fetched or read."""


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
    """Return the folder of a checkpoint: a path, or `owner/name` on the Hugging Face hub, which is fetched.

    Raises
    ------
    WcedError
        If there is neither such a folder nor such a model on the hub.
    """
    if Path(name).is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", str(name)):
        return Path(name)
    from huggingface_hub import snapshot_download

    repository, _, revision = str(name).partition("@")
    try:
        fetched = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(FILES), endpoint=os.environ.get("HF_ENDPOINT")
        )
        return Path(fetched)
    except (OSError, ValueError) as failure:  # the hub's errors are among these
        reason = str(failure).strip().partition("\n")[0]
        raise WcedError(f"{name}: no such folder, and not to be had from the model hub: {reason}") from None


def load(name: str | Path) -> Checkpoint:
    """Read a checkpoint, in evaluation mode. Weights come from safetensors only; no pickle is ever opened.

    Parameters
    ----------
    name
        Folder, or `owner/name` (and, if wanted, `@revision`) on the Hugging Face hub.

    Raises
    ------
    WcedError
        If a file is missing, of another format version, damaged, or does not fit the others.
    """
    folder = found(name)
    try:
        settings = json.loads(existing(folder / "config.json", "a checkpoint's config").read_text())
    except ValueError:
        raise WcedError(f"{folder / 'config.json'}: not a checkpoint's config") from None
    if not isinstance(settings, dict):
        raise WcedError(f"{folder / 'config.json'}: not a checkpoint's config")
    if settings.get("model_type") != WcedConfig.model_type:
        raise WcedError(f"{folder / 'config.json'}: model_type is {settings.get('model_type')}, not wced")
    if settings.get("format_version") not in READABLE:
        raise WcedError(
            f"{folder / 'config.json'}: format version {settings.get('format_version')}, "
            f"this program reads {' and '.join(map(str, READABLE))}"
        )
    if not isinstance(settings.get("vocabulary_sha256"), str):
        raise WcedError(f"{folder / 'config.json'}: has no vocabulary_sha256")
    words, losses = settings.get("readout"), settings.get("losses")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise WcedError(f"{folder / 'config.json'}: readout is a list of words")
    if losses is not None and not isinstance(losses, dict):
        raise WcedError(f"{folder / 'config.json'}: losses is a mapping of names to where each reads, or null")
    heads = settings.get("label_heads")
    if not isinstance(heads, list) or not all({"column", "loss", "classes"} <= set(head) for head in heads):
        raise WcedError(f"{folder / 'config.json'}: label_heads is a list of heads, each with column, loss and classes")
    vocabulary = Vocabulary.read(folder / "vocabulary.tsv")
    if vocabulary.sha256 != settings["vocabulary_sha256"]:
        raise WcedError(f"{folder / 'vocabulary.tsv'}: not the vocabulary that the model was trained with")
    labels, ontology = Labels.read(folder / "labels.json"), None
    if any(head["loss"] == "hierarchical" for head in heads):
        ontology = OntologyCut.read(folder / "ontology.json")
    genes = InputGenes.read(folder / "input_genes.tsv", vocabulary)
    return Checkpoint(_read_model(folder).eval(), vocabulary, labels, ontology, genes)


def _read_model(folder: Path) -> WcedModel:
    """Read the weights; refuse what Transformers would fill up with random ones."""
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
