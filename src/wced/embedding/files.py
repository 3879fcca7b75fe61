"""The file of an embedding: h5ad with the embedding as X and the dataset's obs, the same for models and baselines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from wced import h5ad
from wced.errors import WcedError
from wced.files import whole_file

COMMON, OWN = "common", "dataset"
"""Spaces of embeddings: one for all datasets, or one for each, so that dimensions of two datasets are not the same."""

FACTS = {
    "model": str, "n_params": int, "width": int, "dataset": str, "leakage": str, "pooling": str, "space": str,
}  # fmt: skip
"""What `uns["wced"]` of an embedding says, and of which type; `source` too where it was not made here."""

SOURCE = "here"
"""Source of an embedding that does not name one."""


def write_embedding(
    path: str | Path,
    embedding_nd: np.ndarray,
    obs: pd.DataFrame,
    *,
    model: str,
    dataset: str,
    n_params: int,
    leakage: str,
    pooling: str = "none",
    input: Mapping[str, Any] | None = None,
    source: str = SOURCE,
    space: str = COMMON,
) -> None:
    """Write the embedding of a dataset's cells.

    Parameters
    ----------
    path
        h5ad file to write.
    embedding_nd
        Cells × dimensions, finite; kept as float32.
    obs
        The dataset's obs, one row per cell, in its order.
    model, dataset
        Names in the config.
    n_params
        Trained parameters of what embeds: weights of a network, or loadings fitted on the corpus; 0 without.
    leakage
        What the model may have seen of these cells: `none`, or what was found.
    pooling
        What of the model the embedding is made of; `none` for baselines.
    input
        How well the dataset's genes fitted the model; None where there was nothing to fit.
    source
        `here`, or `external` for embeddings that were made elsewhere.
    space
        `COMMON`, or `OWN` for what is fitted to each dataset apart.

    Raises
    ------
    WcedError
        If shapes differ or a value is not finite.
    """
    embedding_nd = np.asarray(embedding_nd, dtype=np.float32)
    if embedding_nd.ndim != 2 or len(embedding_nd) != len(obs):
        raise WcedError(f"{path}: embedding of shape {embedding_nd.shape} for {len(obs)} cells")
    _check_finite(embedding_nd, path)
    width = embedding_nd.shape[1]
    adata = AnnData(
        X=embedding_nd,
        obs=obs.copy(),
        var=pd.DataFrame(index=[f"{i}" for i in range(width)]),
        uns={
            "wced": {
                "model": model, "n_params": n_params, "width": width, "dataset": dataset, "leakage": leakage,
                "pooling": pooling, "space": space, **({} if input is None else {"input": dict(input)}),
                **({} if source == SOURCE else {"source": source}),
            },
        },
    )  # fmt: skip
    with whole_file(path) as temporary:
        adata.write_h5ad(temporary)


def read_embedding(path: str | Path) -> AnnData:
    """Read an embedding; raise WcedError if the file is no embedding, or holds a value that is not finite."""
    adata = h5ad.read(path, "an embedding (h5ad)")
    facts = adata.uns.get("wced", {})
    for key, kind in FACTS.items():
        if not isinstance(facts, Mapping) or key not in facts:
            raise WcedError(f"{path}: not an embedding of wced: uns['wced'] has no {key}")
        facts[key] = kind(facts[key])
    if facts["space"] not in (COMMON, OWN):
        raise WcedError(f"{path}: uns['wced'] says space {facts['space']}, which is neither {COMMON} nor {OWN}")
    facts.setdefault("source", SOURCE)
    if facts["width"] != adata.n_vars:
        raise WcedError(f"{path}: the embedding has {adata.n_vars} dimensions, its uns says {facts['width']}")
    _check_finite(adata.X, path)
    return adata


def concatenate(path: str | Path, parts: Sequence[str | Path], *, model: str) -> None:
    """Write the embeddings of the same cells by several models side by side, as they are, as one embedding.

    Parameters
    ----------
    path
        h5ad file to write.
    parts
        Embeddings of one dataset. Their widths and parameters add up; what any of them has seen, the whole has, and
        it is of a common space only where all of them are.
    model
        Name of the joined model.

    Raises
    ------
    WcedError
        If the parts are of different datasets or cells.
    """
    embeddings = [read_embedding(part) for part in parts]
    first = embeddings[0]
    facts = [embedding.uns["wced"] for embedding in embeddings]
    for part, embedding in zip(parts, embeddings, strict=True):
        if not embedding.obs_names.equals(first.obs_names):
            raise WcedError(f"{part}: its cells are not those of {parts[0]}")
        if embedding.uns["wced"]["dataset"] != facts[0]["dataset"]:
            raise WcedError(f"{part}: its dataset is not that of {parts[0]}")
    leaks = {fact["leakage"] for fact in facts} - {"none"}
    write_embedding(
        path,
        np.concatenate([embedding.X for embedding in embeddings], axis=1),
        first.obs,
        model=model,
        dataset=facts[0]["dataset"],
        n_params=sum(fact["n_params"] for fact in facts),
        leakage="; ".join(sorted(leaks)) or "none",
        pooling="+".join(fact["pooling"] for fact in facts),
        space=OWN if any(fact["space"] == OWN for fact in facts) else COMMON,
    )


def _check_finite(embedding_nd: np.ndarray, path: str | Path) -> None:
    finite_n = np.isfinite(embedding_nd).all(axis=1)
    if not finite_n.all():
        raise WcedError(f"{path}: the embedding of {(~finite_n).sum()} cells is not finite")
