"""Building a local TileDB-SOMA collection with the layout of the CELLxGENE Census; see `wced.corpus.census`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import tiledbsoma as soma
from scipy import sparse

from wced import h5ad
from wced.contracts import UNKNOWN
from wced.corpus.census import BUFFERS
from wced.corpus.datasets import OBS_COLUMNS
from wced.errors import WcedError
from wced.files import whole_folder
from wced.progress import advancing

WRITE_CELLS = 20_000
"""Cells whose counts are written at once."""

IN_ORDER = soma.options.TileDBWriteOptions(sort_coords=False)
"""Counts are written in the order in which TileDB keeps them, which spares it the sorting (six times as fast)."""


def build_census(sources: Sequence[str | Path], path: str | Path, organism: str = "homo_sapiens") -> None:
    """Build a collection from harmonised datasets (h5ad), whose cells get consecutive `soma_joinid`s in this order.

    Raises WcedError if a file is no harmonised dataset, or two are the same dataset.
    """
    obs, var, datasets, measured_dg = _gather(sources)
    cells_d = datasets["dataset_total_cell_count"].to_numpy()
    var = var.assign(nnz=np.int64(0), n_measured_obs=measured_dg.T.astype(np.int64) @ cells_d)
    facts = {
        "census_schema_version": "2.0.0",
        "total_cell_count": len(obs),
        "unique_cell_count": int(obs["is_primary_data"].sum()),
        f"number_donors_{organism}": len(obs[["dataset_id", "donor_id"]].drop_duplicates()),
    }
    summary = pd.DataFrame({"label": list(facts), "value": [str(value) for value in facts.values()]})
    with whole_folder(path) as folder:
        root = folder / "census"
        _create(str(root), organism, summary, datasets, obs, var)
        experiment = root / "census_data" / organism
        rna = experiment / "ms" / "RNA"
        with advancing("census", total=len(obs), unit="cells") as advance:
            var["nnz"] = _write_counts(sources, str(rna / "X" / "raw"), pd.Index(var["feature_id"]), advance)
        rows, columns = np.nonzero(measured_dg)
        measured = {"soma_dim_0": rows, "soma_dim_1": columns, "soma_data": np.ones(len(rows), np.uint8)}
        for element, table in (
            (rna / "feature_dataset_presence_matrix", pa.table(measured)),
            (rna / "var", _arrow(var)),
            (experiment / "obs", _arrow(obs)),
            (root / "census_info" / "datasets", _arrow(datasets)),
            (root / "census_info" / "summary", _arrow(summary)),
        ):
            with soma.open(str(element), "w") as target:
                target.write(table)
        # The collection is the folder itself, whatever it was called while it was made.
        for part in root.iterdir():
            part.rename(folder / part.name)
        root.rmdir()


def _gather(sources: Sequence[str | Path]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Return obs of all cells, all genes, a row for each dataset, and which dataset measured which gene."""
    frames, genes, infos = [], [], {}
    for source in sources:
        adata = h5ad.read(source, "a harmonised dataset", backed="r")
        for column in OBS_COLUMNS:
            if column not in adata.obs.columns:
                raise WcedError(f"{source}: obs has no column {column}; expected a harmonised dataset")
        name = str(adata.obs["dataset_id"].iloc[0])
        if name in infos:
            raise WcedError(f"{source}: dataset {name} is already in the collection")
        frames.append(adata.obs)
        genes.append(adata.var)
        infos[name] = (adata.uns["citation"], f"{name}.h5ad", name, adata.uns["title"], adata.n_obs)
        adata.file.close()
    columns = ["citation", "dataset_h5ad_path", "dataset_id", "dataset_title", "dataset_total_cell_count"]
    datasets = pd.DataFrame(infos.values(), columns=columns)
    var = pd.concat(genes).rename_axis("feature_id").sort_index()
    var = var[~var.index.duplicated()][["feature_name", "feature_type", "feature_length"]]
    measured_dg = np.array([var.index.isin(frame.index) for frame in genes])
    var = var.reset_index().astype({"feature_name": str, "feature_type": str, "feature_length": np.int64})
    return _joined(frames, sources), var, datasets, measured_dg


def _joined(frames: Sequence[pd.DataFrame], sources: Sequence[str | Path]) -> pd.DataFrame:
    """Return obs of all cells, with the columns that any has: where one has none, text is unknown and numbers are NaN.

    Text is categorical, but for the cells' own ids.
    """
    columns = {}
    for name in dict.fromkeys((*OBS_COLUMNS, *(name for frame in frames for name in frame.columns))):
        parts = [frame[name] if name in frame else pd.Series(np.nan, frame.index) for frame in frames]
        numeric = [pd.api.types.is_numeric_dtype(part.dtype) for part in parts]
        known = [(part.notna() & (part != UNKNOWN)).any() for part in parts]
        source_of = {kind: source for kind, source, filled in zip(numeric, sources, known, strict=True) if filled}
        if len(source_of) > 1:
            raise WcedError(
                f"{source_of[False]}: obs has text in the column {name}, where {source_of[True]} has numbers; rename "
                "its values, or put NAME= before one of the two in extra_obs"
            )
        is_number = True in source_of or all(numeric)
        if is_number:  # what is text in these columns is unknown
            pairs = zip(parts, numeric, strict=True)
            parts = [part if kind else pd.Series(np.nan, part.index) for part, kind in pairs]
        else:
            parts = [part.astype(object).fillna(UNKNOWN).astype(str) for part in parts]
        columns[name] = pd.concat(parts, ignore_index=True)
        if not is_number and name != "observation_joinid":
            columns[name] = columns[name].astype("category")
    return pd.DataFrame(columns)


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """Return a frame as the table to write: `soma_joinid` is the row number, categories become dictionaries."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for i, field in enumerate(table.schema):
        kind = pa.large_string() if field.type == pa.string() else field.type
        if pa.types.is_dictionary(field.type):
            kind = pa.dictionary(pa.int32(), pa.large_string())
        table = table.set_column(i, field.name, table.column(i).cast(kind))
    joinids = pa.array(np.arange(len(frame)), pa.int64())
    return table.add_column(0, "soma_joinid", joinids).replace_schema_metadata(None)


def _create(
    root: str, organism: str, summary: pd.DataFrame, datasets: pd.DataFrame, obs: pd.DataFrame, var: pd.DataFrame
) -> None:
    """Create everything empty.

    An element created inside an open collection takes over the collection's fixed timestamp, and writing to it at once
    loses the values of dictionary columns. So nothing is written here; every element is opened again by its URI.
    """
    with soma.Collection.create(root, context=soma.SOMATileDBContext(tiledb_config=BUFFERS)) as census:
        info = census.add_new_collection("census_info")
        experiment = census.add_new_collection("census_data").add_new_collection(organism, soma.Experiment)
        rna = experiment.add_new_collection("ms").add_new_collection("RNA", soma.Measurement)
        for parent, name, frame in (
            (info, "summary", summary),
            (info, "datasets", datasets),
            (experiment, "obs", obs),
            (rna, "var", var),
        ):
            schema, domain = _arrow(frame).schema, [(0, len(frame) - 1)]
            parent.add_new_dataframe(name, schema=schema, index_column_names=["soma_joinid"], domain=domain)
        # Counts are stored in runs of cells with all of their genes, because that is how they are read.
        zstd = {"_type": "ZstdFilter", "level": 1}
        layout = {
            "dims": {
                "soma_dim_0": {"tile": 1024, "filters": [zstd]},
                "soma_dim_1": {"tile": len(var), "filters": ["ByteShuffleFilter", zstd]},
            },
            "attrs": {"soma_data": {"filters": ["ByteShuffleFilter", zstd]}},
            "cell_order": "row-major",
            "tile_order": "row-major",
            "capacity": 2**16,
        }
        x, options = rna.add_new_collection("X"), {"tiledb": {"create": layout}}
        x.add_new_sparse_ndarray("raw", type=pa.float32(), shape=(len(obs), len(var)), platform_config=options)
        shape = (len(datasets), len(var))
        rna.add_new_sparse_ndarray("feature_dataset_presence_matrix", type=pa.uint8(), shape=shape)


def _write_counts(
    sources: Sequence[str | Path], uri: str, gene_ids: pd.Index, advance: Callable[[int], None]
) -> np.ndarray:
    """Write the counts of one dataset after the other; return how many cells express each gene."""
    nnz_g, first = np.zeros(len(gene_ids), np.int64), 0
    with soma.open(uri, "w") as target:
        for source in sources:
            adata = h5ad.read(source, backed="r")
            columns = gene_ids.get_indexer(adata.var_names)
            for start in range(0, adata.n_obs, WRITE_CELLS):
                x_ng = adata.X[start : start + WRITE_CELLS]
                shape = x_ng.shape[0], len(gene_ids)
                x_ng = sparse.csr_matrix((x_ng.data, columns[x_ng.indices], x_ng.indptr), shape)
                x_ng.sum_duplicates()  # sorts them, too
                x_ng.eliminate_zeros()
                cells = np.arange(first + start, first + start + shape[0])
                entries = {
                    "soma_dim_0": np.repeat(cells, np.diff(x_ng.indptr)),
                    "soma_dim_1": x_ng.indices.astype(np.int64, copy=False),
                    "soma_data": x_ng.data.astype(np.float32, copy=False),
                }
                target.write(pa.table(entries), platform_config=IN_ORDER)
                nnz_g += np.bincount(x_ng.indices, minlength=len(gene_ids))
                advance(shape[0])
            first += adata.n_obs
            adata.file.close()
    return nnz_g
