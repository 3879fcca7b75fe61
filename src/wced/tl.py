"""Tools for AnnData objects, in the way of scanpy: `wced.tl.embed(adata, checkpoint)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch and anndata take seconds to import: only when they are used
    from anndata import AnnData

    from wced.checkpoint import Checkpoint
    from wced.embedding.inputs import ModelInput


def embed(
    adata: AnnData,
    checkpoint: str | Path | Checkpoint,
    *,
    pooling: str | Sequence[str] | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    gene_column: str | None = None,
    min_gene_share: float = 0.1,
    batch_size: int = 256,
    key_added: str = "X_wced",
    copy: bool = False,
) -> AnnData | None:
    """Embed cells: set `obsm[key_added]` (float32, cells × width), and say in `uns["wced"][key_added]` how.

    WcedError is raised if counts, genes, pooling or checkpoint do not fit.

    Parameters
    ----------
    adata
        Raw counts of human cells, cells × genes; also backed by its file. Cells are neither reordered nor dropped.
    checkpoint
        Folder of a checkpoint's model, a name on the Hugging Face hub (`owner/name`), or what
        `wced.checkpoint.load` returned.
    pooling
        One of the words of `wced.embedding.pooling.Pooling`, such as `cls` or `mean`, or several side by side. None
        takes the checkpoint's own, which its losses trained.
    layer, use_raw
        Layer that holds the raw counts, or whether `adata.raw` does; by default X.
    gene_column
        Column of var with Ensembl ids or symbols; None takes var_names or a usual column, whichever fits best.
    min_gene_share
        Smallest share of the model's genes that must be there.
    batch_size
        Most cells at once; it does not change the result.
    copy
        Whether to return a changed copy instead of changing `adata` and returning None.

    Examples
    --------
    >>> wced.tl.embed(adata, "results/demo/pretraining/wced_multitask/model")
    """
    from wced.embedding import inference
    from wced.embedding.pooling import Pooling

    reading = {"layer": layer, "use_raw": use_raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    adata, loaded, cells = _read(adata, checkpoint, copy, reading)
    pooled = Pooling(pooling, loaded.model)
    adata.obsm[key_added] = inference.embed(cells, loaded, pooling=pooled, batch_size=batch_size, obs=adata.obs)
    _note(adata, key_added, {"pooling": pooled.name}, checkpoint, cells)
    return adata if copy else None


def annotate(
    adata: AnnData,
    checkpoint: str | Path | Checkpoint,
    *,
    column: str | None = None,
    method: str = "leaf_argmax",
    layer: str | None = None,
    use_raw: bool = False,
    gene_column: str | None = None,
    min_gene_share: float = 0.1,
    batch_size: int = 256,
    key_added: str = "wced",
    copy: bool = False,
) -> AnnData | None:
    """Predict labels of cells: cell types of the Cell Ontology, or what another label head of the checkpoint tells.

    For the Cell Ontology it sets obs `wced_cell_type` (name), `wced_cell_type_ontology_term_id` and `wced_probability`;
    for another head of column NAME_ontology_term_id or NAME `wced_NAME` (name), `wced_NAME_ontology_term_id` and
    `wced_NAME_probability`; for a number `wced_NAME` only. `uns["wced"]["wced_COLUMN"]` says how. Parameters that are
    not listed, and errors, are those of `embed`.

    Parameters
    ----------
    column
        Label column of the head; None for that over the Cell Ontology.
    method
        `leaf_argmax` (the most probable leaf) or `greedy` (from the root always the most probable child). A term above
        others that is predicted, such as macrophage above microglial cell, means that it is not further specified.
    key_added
        What names begin with instead of `wced`.

    Examples
    --------
    >>> wced.tl.annotate(adata, "results/demo/pretraining/wced_multitask/model")
    """
    from wced.embedding import annotation

    reading = {"layer": layer, "use_raw": use_raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    adata, loaded, cells = _read(adata, checkpoint, copy, reading)
    short, column = column is None, annotation.ontology_column(loaded) if column is None else column
    frame = annotation.annotate(cells, adata.obs_names, loaded, column=column, method=method, batch_size=batch_size)
    name = column.removesuffix("_ontology_term_id")
    if "predicted_value" in frame:
        adata.obs[f"{key_added}_{name}"] = frame["predicted_value"].to_numpy()
    else:
        adata.obs[f"{key_added}_{column}"] = frame["predicted_term"].astype("category").array
        if name != column:
            adata.obs[f"{key_added}_{name}"] = frame["predicted_label"].astype("category").array
        probability = "probability" if short else f"{name}_probability"
        adata.obs[f"{key_added}_{probability}"] = frame["probability"].to_numpy()
    _note(adata, f"{key_added}_{column}", {"column": column, "method": method}, checkpoint, cells)
    return adata if copy else None


def _read(
    adata: AnnData, checkpoint: str | Path | Checkpoint, copy: bool, reading: dict[str, Any]
) -> tuple[AnnData, Checkpoint, ModelInput]:
    """Return what is written to, the model, and the cells as it reads them."""
    from wced.checkpoint import load
    from wced.embedding.inputs import read_cells
    from wced.errors import WcedError

    notes = getattr(adata, "uns", {}).get("wced", {})
    if not isinstance(notes, Mapping):
        raise WcedError(
            f"uns['wced'] is {type(notes).__name__} and no mapping, in which wced notes what it does; rename it"
        )
    loaded = load(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint
    cells = read_cells(adata, loaded, **reading)
    print(cells.summary)
    if copy:
        adata = adata.to_memory() if adata.isbacked else adata.copy()
    return adata, loaded, cells


def _note(
    adata: AnnData, key: str, params: dict[str, Any], checkpoint: str | Path | Checkpoint, cells: ModelInput
) -> None:
    """Say in uns how something was made."""
    name = str(checkpoint) if isinstance(checkpoint, str | Path) else "loaded before"
    note = {"checkpoint": name, "params": params, "input": cells.facts}
    adata.uns["wced"] = {**adata.uns.get("wced", {}), key: note}
