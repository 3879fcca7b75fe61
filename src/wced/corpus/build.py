"""Building a local TileDB-SOMA collection with the layout of the CELLxGENE Census; see `wced.corpus.census`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import tiledbsoma as soma
from scipy import sparse

from wced import h5ad
from wced.corpus.census import BUFFERS
from wced.corpus.datasets import OBS_COLUMNS
from wced.corpus.terms import UNKNOWN
from wced.errors import WcedError
from wced.files import whole_folder
from wced.progress import advancing

HARMONISED = "a harmonised dataset"
"""What the sources of a collection are."""

WRITE_CELLS = 20_000
"""Cells whose counts are written at once."""

IN_ORDER = soma.options.TileDBWriteOptions(sort_coords=False)
"""Counts are written in the order in which TileDB keeps them, which spares it the sorting (six times as fast)."""


def build_census(sources: Sequence[str | Path], path: str | Path, organism: str = "homo_sapiens") -> None:
    """Build a collection from harmonised datasets.

    Parameters
    ----------
    sources
        Harmonised h5ad files; their cells get consecutive `soma_joinid`s in this order.
    path
        Folder to make.
    organism
        Name of the experiment.

    Raises
    ------
    WcedError
        If a file is no harmonised dataset, or two are the same dataset.
    """
    obs, var, infos = _gather(sources)
    with whole_folder(path) as folder:
        root = folder / "census"
        _create(str(root), organism, obs, len(var), len(infos))
        experiment = root / "census_data" / organism
        uris = {name: str(experiment / "ms" / "RNA" / name) for name in ("var", "feature_dataset_presence_matrix")}
        with advancing("census", total=len(obs), unit="cells") as advance:
            nnz_g = _write_counts(sources, str(experiment / "ms" / "RNA" / "X" / "raw"), var, advance)
        presence = _write_presence(sources, uris["feature_dataset_presence_matrix"], var)
        cells_d = np.array([info["dataset_total_cell_count"] for info in infos])
        var = var.reset_index().assign(nnz=nnz_g, n_measured_obs=presence.T.astype(np.int64) @ cells_d)
        _write_frame(uris["var"], var)
        _write_frame(str(experiment / "obs"), obs)
        _write_frame(str(root / "census_info" / "datasets"), pd.DataFrame(infos))
        _write_frame(str(root / "census_info" / "summary"), _summary(obs, organism))
        # The collection is the folder itself, whatever it was called while it was made.
        for part in root.iterdir():
            part.rename(folder / part.name)
        root.rmdir()


def _gather(sources: Sequence[str | Path]) -> tuple[pd.DataFrame, pd.DataFrame, list[dict[str, Any]]]:
    """Return obs of all cells, all genes, and a row for each dataset."""
    frames, genes, infos = [], [], []
    for source in sources:
        adata = h5ad.read(source, HARMONISED, backed="r")
        missing = [name for name in OBS_COLUMNS if name not in adata.obs.columns]
        if missing:
            raise WcedError(f"{source}: obs has no column {missing[0]}; expected a harmonised dataset")
        name = str(adata.obs["dataset_id"].iloc[0])
        if name in {info["dataset_id"] for info in infos}:
            raise WcedError(f"{source}: dataset {name} is already in the collection")
        frames.append(adata.obs)
        genes.append(adata.var.rename_axis("feature_id").astype({"feature_type": str}))
        infos.append(
            {
                "dataset_id": name,
                "dataset_title": adata.uns["title"],
                "citation": adata.uns["citation"],
                "dataset_h5ad_path": f"{name}.h5ad",
                "dataset_total_cell_count": adata.n_obs,
            }
        )
        adata.file.close()
    obs = _joined(frames, sources)
    var = pd.concat(genes).sort_index()
    return obs, var[~var.index.duplicated()][["feature_name", "feature_type", "feature_length"]], infos


def _joined(frames: Sequence[pd.DataFrame], sources: Sequence[str | Path]) -> pd.DataFrame:
    """Return obs of all cells, with the columns that any has: where one has none, text is unknown and numbers are NaN.

    Text is categorical, but for the cells' own ids.
    """
    columns = {}
    for name in dict.fromkeys((*OBS_COLUMNS, *(name for frame in frames for name in frame.columns))):
        parts = [frame[name] if name in frame else pd.Series(np.nan, frame.index) for frame in frames]
        is_number = [pd.api.types.is_numeric_dtype(part.dtype) for part in parts]
        says = [(part.notna() & (part != UNKNOWN)).any() for part in parts]
        source_of = {kind: source for kind, source, filled in zip(is_number, sources, says, strict=True) if filled}
        if len(source_of) > 1:
            raise WcedError(
                f"{source_of[False]}: obs has text in the column {name}, where {source_of[True]} has numbers; rename "
                "its values, or put NAME= before one of the two in extra_obs"
            )
        if True in source_of or all(is_number):
            # What is text here says unknown.
            pairs = zip(parts, is_number, strict=True)
            parts = [part if number else pd.Series(np.nan, part.index) for part, number in pairs]
            columns[name] = pd.concat(parts, ignore_index=True)
            continue
        parts = [part.astype(object).fillna(UNKNOWN).astype(str) for part in parts]
        columns[name] = pd.concat(parts, ignore_index=True)
        if name != "observation_joinid":
            columns[name] = columns[name].astype("category")
    return pd.DataFrame(columns)


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """Return a frame as the table to write: `soma_joinid` is the row number, categories become dictionaries."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for place, field in enumerate(table.schema):
        wanted = pa.large_string() if field.type == pa.string() else field.type
        if pa.types.is_dictionary(field.type):
            wanted = pa.dictionary(pa.int32(), pa.large_string())
        table = table.set_column(place, field.name, table.column(place).cast(wanted))
    joinids = pa.array(np.arange(len(frame)), pa.int64())
    return table.add_column(0, "soma_joinid", joinids).replace_schema_metadata(None)


def _create(root: str, organism: str, obs: pd.DataFrame, n_var: int, n_datasets: int) -> None:
    """Create everything empty.

    An element created inside an open collection takes over the collection's fixed timestamp, and writing to it at once
    loses the values of dictionary columns. So nothing is written here; every element is opened again by its URI.
    """
    context = soma.SOMATileDBContext(tiledb_config=BUFFERS)
    texts = {"dataset_id", "dataset_title", "citation", "dataset_h5ad_path"}
    infos = pd.DataFrame({**dict.fromkeys(sorted(texts), ""), "dataset_total_cell_count": 0}, index=[0])
    gene = pd.DataFrame({"feature_id": "", "feature_name": "", "feature_type": ""}, index=[0])
    gene = gene.assign(feature_length=np.int64(0), nnz=np.int64(0), n_measured_obs=np.int64(0))
    with soma.Collection.create(root, context=context) as census:
        info = census.add_new_collection("census_info")
        for name, frame, n in (("summary", _summary(obs, organism), None), ("datasets", infos, n_datasets)):
            _new_frame(info, name, frame, n or len(frame))
        data = census.add_new_collection("census_data")
        experiment = data.add_new_collection(organism, soma.Experiment)
        _new_frame(experiment, "obs", obs, len(obs))
        rna = experiment.add_new_collection("ms").add_new_collection("RNA", soma.Measurement)
        _new_frame(rna, "var", gene, n_var)
        x = rna.add_new_collection("X")
        x.add_new_sparse_ndarray(
            "raw", type=pa.float32(), shape=(len(obs), n_var), platform_config=_counts_layout(n_var)
        )
        rna.add_new_sparse_ndarray("feature_dataset_presence_matrix", type=pa.uint8(), shape=(n_datasets, n_var))


def _new_frame(parent: soma.Collection, name: str, like: pd.DataFrame, n: int) -> None:
    parent.add_new_dataframe(name, schema=_arrow(like).schema, index_column_names=["soma_joinid"], domain=[(0, n - 1)])


def _write_frame(uri: str, frame: pd.DataFrame) -> None:
    with soma.open(uri, "w") as target:
        table = _arrow(frame)
        target.write(table.select([name for name in target.schema.names if name in table.column_names]))


def _counts_layout(n_var: int) -> dict[str, Any]:
    """Return how counts are stored: in runs of cells with all of their genes, because that is how they are read."""
    zstd = {"_type": "ZstdFilter", "level": 1}
    create = {
        "dims": {
            "soma_dim_0": {"tile": 1024, "filters": [zstd]},
            "soma_dim_1": {"tile": n_var, "filters": ["ByteShuffleFilter", zstd]},
        },
        "attrs": {"soma_data": {"filters": ["ByteShuffleFilter", zstd]}},
        "cell_order": "row-major",
        "tile_order": "row-major",
        "capacity": 2**16,
    }
    return {"tiledb": {"create": create}}


def _write_counts(
    sources: Sequence[str | Path], uri: str, var: pd.DataFrame, advance: Callable[[int], None]
) -> np.ndarray:
    """Write the counts of one dataset after the other; return how many cells express each gene."""
    nnz_g, first = np.zeros(len(var), np.int64), 0
    with soma.open(uri, "w") as target:
        for source in sources:
            adata = h5ad.read(source, HARMONISED, backed="r")
            columns = var.index.get_indexer(adata.var_names)
            for start in range(0, adata.n_obs, WRITE_CELLS):
                x_ng = adata.X[start : start + WRITE_CELLS]
                x_ng = sparse.csr_matrix((x_ng.data, columns[x_ng.indices], x_ng.indptr), (x_ng.shape[0], len(var)))
                x_ng.sum_duplicates()  # sorts them, too
                x_ng.eliminate_zeros()
                cells = np.arange(first + start, first + start + x_ng.shape[0])
                coordinates = {
                    "soma_dim_0": np.repeat(cells, np.diff(x_ng.indptr)),
                    "soma_dim_1": x_ng.indices.astype(np.int64, copy=False),
                }
                table = pa.table({**coordinates, "soma_data": x_ng.data.astype(np.float32, copy=False)})
                target.write(table, platform_config=IN_ORDER)
                nnz_g += np.bincount(x_ng.indices, minlength=len(var))
                advance(x_ng.shape[0])
            first += adata.n_obs
            adata.file.close()
    return nnz_g


def _write_presence(sources: Sequence[str | Path], uri: str, var: pd.DataFrame) -> np.ndarray:
    """Write which dataset measured which gene; return it as a boolean matrix, datasets × genes."""
    presence = np.zeros((len(sources), len(var)), bool)
    for row, source in enumerate(sources):
        adata = h5ad.read(source, HARMONISED, backed="r")
        presence[row, var.index.get_indexer(adata.var_names)] = True
        adata.file.close()
    rows, columns = np.nonzero(presence)
    with soma.open(uri, "w") as target:
        ones = np.ones(len(rows), np.uint8)
        target.write(pa.table({"soma_dim_0": rows, "soma_dim_1": columns, "soma_data": ones}))
    return presence


def _summary(obs: pd.DataFrame, organism: str) -> pd.DataFrame:
    donors = obs[["dataset_id", "donor_id"]].drop_duplicates()
    facts = {
        "census_schema_version": "2.0.0",
        "total_cell_count": len(obs),
        "unique_cell_count": int(obs["is_primary_data"].sum()),
        f"number_donors_{organism}": len(donors),
    }
    return pd.DataFrame({"label": list(facts), "value": [str(value) for value in facts.values()]})
