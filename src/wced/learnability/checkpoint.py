"""What the folder of a checkpoint says of its model that its errors do not tell."""

import json
from pathlib import Path

import pandas as pd

from wced.shards.input_genes import InputGenes
from wced.shards.vocabulary import Vocabulary

MODEL_FILES = ("config.json", "vocabulary.tsv", "input_genes.tsv")
"""Files of the model that are read here; errors may stand without their model."""


def told_depth(folder: Path) -> bool:
    """Return whether the decoder of a checkpoint's folder was told the depth of the whole cell."""
    return _config(folder).get("decoder_depth") is not None


def left_out(folder: Path) -> pd.DataFrame:
    """Return the genes that the input of a checkpoint leaves out, so that its model has never read them.

    Parameters
    ----------
    folder
        Folder of a pretrained checkpoint, as `wced.pretraining.train.pretrain` makes it.

    Returns
    -------
    pd.DataFrame
        `gene_id`, `gene_symbol`, and `left_out`: the gene groups for which the gene is left out, with commas between.
        Empty where the input leaves out none, and where errors stand without their model.

    Raises
    ------
    WcedError
        If the genes of the input are missing, or do not have the groups that the config leaves out.
    """
    groups = _config(folder).get("input", {}).get("leave_out", [])
    if not groups:
        return pd.DataFrame(columns=["gene_id", "gene_symbol", "left_out"], dtype=object)
    vocabulary = Vocabulary.read(folder / "model" / "vocabulary.tsv")
    genes = InputGenes.read(folder / "model" / "input_genes.tsv", vocabulary)
    parts = [
        pd.DataFrame({"gene_id": vocabulary.gene_ids, "gene_symbol": vocabulary.symbols, "left_out": group})[
            genes.members([group])
        ]
        for group in groups
    ]
    return pd.concat(parts).groupby(["gene_id", "gene_symbol"], as_index=False)["left_out"].agg(", ".join)


def _config(folder: Path) -> dict:
    path = folder / "model" / "config.json"
    # Errors may stand without their model, of which nothing is known then.
    return json.loads(path.read_text()) if path.exists() else {}
