"""Files of embeddings: h5ad with the embedding as X and the dataset's obs, the same for models and baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from wced import h5ad
from wced.errors import WcedError
from wced.files import whole_file

COMMON, OWN = "common", "dataset"
"""Spaces of embeddings: one for all datasets, or one for each, so that dimensions of two datasets are not the same."""

HERE = "here"
"""Source of an embedding that its file does not name."""


@dataclass(frozen=True)
class Facts:
    """What `uns["wced"]` of an embedding says."""

    model: str
    """Name in the config."""
    n_params: int
    """Trained parameters of the model: weights of a network, or loadings fitted on the corpus; 0 for none."""
    width: int
    """Dimensions."""
    dataset: str
    """Name in the config."""
    leakage: str
    """What the model may have seen of these cells; it begins with `none` if nothing."""
    pooling: str = "none"
    """What of the model the embedding is read from; `none` for baselines."""
    space: str = COMMON
    """`COMMON`, or `OWN` of a model that is fitted to each dataset apart."""
    source: str = HERE
    """`HERE`, or `external` of an embedding that was made elsewhere."""

    @classmethod
    def of(cls, embedding: AnnData) -> "Facts":
        """Return the facts of what `read_embedding` returned."""
        return cls(**{field.name: embedding.uns["wced"][field.name] for field in fields(cls)})


def write_embedding(
    path: str | Path,
    embedding_nd: np.ndarray,
    obs: pd.DataFrame,
    *,
    input: Mapping[str, Any] | None = None,
    **facts: Any,
) -> None:
    """Write the embedding of a dataset's cells as h5ad.

    `embedding_nd` (written as float32) has a row for each of `obs`, the dataset's; `input` says how well the dataset's
    genes fitted the model, if it has a vocabulary; `facts` are the fields of `Facts`, without `width`. WcedError is
    raised if shapes differ or a value is not finite.
    """
    embedding_nd = np.asarray(embedding_nd, dtype=np.float32)
    if embedding_nd.ndim != 2 or len(embedding_nd) != len(obs):
        raise WcedError(f"{path}: embedding of shape {embedding_nd.shape} for {len(obs)} cells")
    _check_finite(embedding_nd, path)
    width = embedding_nd.shape[1]
    note = asdict(Facts(width=width, **facts))
    if note["source"] == HERE:
        del note["source"]
    if input is not None:
        note["input"] = dict(input)
    var = pd.DataFrame(index=[f"{i}" for i in range(width)])
    adata = AnnData(X=embedding_nd, obs=obs.copy(), var=var, uns={"wced": note})
    with whole_file(path) as temporary:
        adata.write_h5ad(temporary)


def read_embedding(path: str | Path) -> AnnData:
    """Return an embedding whose `uns["wced"]` has all `Facts`; raise WcedError if it is none, or not finite."""
    adata = h5ad.read(path, "an embedding (h5ad)")
    facts = adata.uns.get("wced")
    facts = {"source": HERE, **facts} if isinstance(facts, Mapping) else {}
    for field in fields(Facts):
        if field.name not in facts:
            raise WcedError(f"{path}: not an embedding of wced: uns['wced'] has no {field.name}")
        facts[field.name] = field.type(facts[field.name])
    adata.uns["wced"] = facts
    if facts["space"] not in (COMMON, OWN):
        raise WcedError(f"{path}: uns['wced'] says space {facts['space']}, which is neither {COMMON} nor {OWN}")
    if facts["width"] != adata.n_vars:
        raise WcedError(f"{path}: the embedding has {adata.n_vars} dimensions, its uns says {facts['width']}")
    _check_finite(adata.X, path)
    return adata


def read_external(path: str | Path, cells: pd.Index, dataset: str, key: str = "X") -> np.ndarray:
    """Return an embedding that was made elsewhere, in the order of `cells`; cells × dimensions, float32.

    The embedding is X or `obsm/NAME` (the key) of an h5ad whose obs names are those of the harmonised dataset, in any
    order. WcedError names a cell that is missing, duplicated or not of the dataset, or whose values are not finite.
    """
    adata = h5ad.read(path, "an embedding made elsewhere (h5ad)")
    if duplicated := adata.obs_names[adata.obs_names.duplicated()].tolist():
        raise WcedError(f"{path}: cell {duplicated[0]} is duplicated")
    row_n = adata.obs_names.get_indexer(cells)
    if (row_n < 0).any():
        lost = cells[row_n < 0]
        raise WcedError(f"{path}: has no cell {lost[0]} of {dataset}; {len(lost)} of its {len(cells)} are missing")
    if adata.n_obs > len(cells):
        extra = adata.obs_names[~adata.obs_names.isin(cells)]
        raise WcedError(f"{path}: cell {extra[0]} is not in {dataset}; {len(extra)} cells are too many")
    values = adata.X if key == "X" else adata.obsm.get(key.removeprefix("obsm/"))
    if key != "X" and values is None:
        raise WcedError(f"{path}: there is no {key}; obsm has {', '.join(adata.obsm) or 'nothing'}")
    try:
        embedding_nd = np.asarray(values.toarray() if sparse.issparse(values) else values, dtype=np.float32)
    except (TypeError, ValueError):
        raise WcedError(f"{path}: {key} is no matrix of numbers") from None
    if embedding_nd.ndim != 2 or embedding_nd.shape[1] == 0:
        raise WcedError(f"{path}: {key} is no matrix of cells × dimensions")
    embedding_nd = embedding_nd[row_n]
    finite_n = np.isfinite(embedding_nd).all(axis=1)
    if not finite_n.all():
        raise WcedError(f"{path}: the embedding of cell {cells[~finite_n][0]} is not finite")
    return embedding_nd


def concatenate(path: str | Path, parts: Sequence[str | Path], *, model: str) -> None:
    """Write the embeddings of the same cells by several models side by side, as the embedding by `model`.

    Widths and parameters add up. It has seen what any of them has seen, and is of a common space if all of them are.
    WcedError is raised if the parts are of different datasets or cells.
    """
    embeddings = [read_embedding(part) for part in parts]
    facts = [Facts.of(embedding) for embedding in embeddings]
    for part, embedding, fact in zip(parts, embeddings, facts, strict=True):
        if not embedding.obs_names.equals(embeddings[0].obs_names):
            raise WcedError(f"{part}: its cells are not those of {parts[0]}")
        if fact.dataset != facts[0].dataset:
            raise WcedError(f"{part}: its dataset is not that of {parts[0]}")
    write_embedding(
        path,
        np.concatenate([embedding.X for embedding in embeddings], axis=1),
        embeddings[0].obs,
        model=model,
        dataset=facts[0].dataset,
        n_params=sum(fact.n_params for fact in facts),
        leakage="; ".join(sorted({fact.leakage for fact in facts} - {"none"})) or "none",
        pooling="+".join(fact.pooling for fact in facts),
        space=OWN if any(fact.space == OWN for fact in facts) else COMMON,
    )


def _check_finite(embedding_nd: np.ndarray, path: str | Path) -> None:
    finite_n = np.isfinite(embedding_nd).all(axis=1)
    if not finite_n.all():
        raise WcedError(f"{path}: the embedding of {(~finite_n).sum()} cells is not finite")
