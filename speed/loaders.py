"""Other loaders, each opened as its authors recommend; every one yields the same thing."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

from speed.systems import BATCH_SIZE, BUFFER

RawBatch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""`indptr`, `indices` and `data` of cells × genes as the loader has them (CSR, no copy), and the soma_joinid of each
cell."""

Epoch = Callable[[], Iterator[RawBatch]]
"""Called once for each epoch."""


def annbatch(data: Path, seed: int) -> tuple[Epoch, int]:
    """Open annbatch's own store with its default chunks of 512 cells, 32 of them in memory; the store is shuffled."""
    import anndata as ad
    import zarr
    from annbatch import DatasetCollection, Loader

    _use_zarrs()

    def load(group: zarr.Group) -> ad.AnnData:
        return ad.AnnData(X=ad.io.sparse_dataset(group["X"]), obs=ad.io.read_elem(group["obs"])[["soma_joinid"]])

    loader = Loader(
        batch_size=BATCH_SIZE, chunk_size=512, preload_nchunks=BUFFER // 512, shuffle=True, preload_to_gpu=False,
        rng=np.random.default_rng(seed),
    ).use_collection(DatasetCollection(data / "annbatch" / "cells.zarr"), load_adata=load)  # fmt: skip

    def epoch() -> Iterator[RawBatch]:
        for batch in loader:
            x = batch["X"]
            yield x.indptr, x.indices, x.data, batch["obs"]["soma_joinid"].to_numpy()

    return epoch, BUFFER


def write_annbatch(data: Path, folder: Path, seed: int) -> None:
    """Write annbatch's store into a folder with its own writer: shuffled, sharded, compressed zarr."""
    from annbatch import DatasetCollection

    _use_zarrs()
    DatasetCollection(folder / "cells.zarr").add_adatas(
        [data / "cells.h5ad"], shuffle=True, rng=np.random.default_rng(seed)
    )


def _use_zarrs() -> None:
    import zarr

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})


def scdataset(data: Path, seed: int) -> tuple[Epoch, int]:
    """Open the backed h5ad with block shuffling: blocks of 16 cells, many blocks a fetch (the paper's setting)."""
    import anndata as ad
    from scdataset import BlockShuffling, scDataset
    from torch.utils.data import DataLoader

    cells = ad.read_h5ad(data / "cells.h5ad", backed="r")

    def fetch(collection: ad.AnnData, rows: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
        chosen = collection[rows].to_memory()
        return chosen.X, chosen.obs["soma_joinid"].to_numpy()

    def batch(fetched: tuple[sparse.csr_matrix, np.ndarray], rows: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
        return fetched[0][rows], fetched[1][rows]

    dataset = scDataset(
        cells, BlockShuffling(block_size=16), batch_size=BATCH_SIZE, fetch_factor=BUFFER // BATCH_SIZE,
        fetch_callback=fetch, batch_callback=batch, seed=seed,
    )  # fmt: skip
    loader = DataLoader(dataset, batch_size=None, collate_fn=_as_is)

    def epoch() -> Iterator[RawBatch]:
        for x, joinids in loader:
            yield x.indptr, x.indices, x.data, joinids

    return epoch, BUFFER


def tiledbsoma_ml(data: Path, seed: int) -> tuple[Epoch, int]:
    """Open the SOMA collection; an I/O batch is drawn from chunks of 64 cells and shuffled.

    Fetching the next one ahead of time, in a thread, makes it slower on one core, so that is off.
    """
    import tiledbsoma as soma
    from tiledbsoma_ml import ExperimentDataset, experiment_dataloader

    experiment = soma.open(str(data / "census" / "census_data" / "homo_sapiens"))
    dataset = ExperimentDataset(
        experiment.axis_query("RNA"), layer_name="raw", obs_column_names=["soma_joinid"], batch_size=BATCH_SIZE,
        io_batch_size=BUFFER, shuffle=True, shuffle_chunk_size=64, seed=seed, return_sparse_X=True,
        use_eager_fetch=False,
    )  # fmt: skip
    loader = experiment_dataloader(dataset)
    epochs = iter(range(2**31))

    def epoch() -> Iterator[RawBatch]:
        dataset.set_epoch(next(epochs))
        for x, obs in loader:
            yield x.indptr, x.indices, x.data, obs["soma_joinid"].to_numpy()

    return epoch, BUFFER


def annloader(data: Path, seed: int) -> tuple[Epoch, int]:
    """Open the backed h5ad; without the default converter, which would make every batch dense."""
    import anndata as ad
    from anndata.experimental import AnnLoader

    np.random.seed(seed)  # its sampler draws from the global generator # noqa: NPY002
    cells = ad.read_h5ad(data / "cells.h5ad", backed="r")
    loader = AnnLoader([cells], batch_size=BATCH_SIZE, shuffle=True, use_default_converter=False)

    def epoch() -> Iterator[RawBatch]:
        for batch in loader:
            x = batch.X
            yield x.indptr, x.indices, x.data, np.asarray(batch.obs["soma_joinid"])

    return epoch, BATCH_SIZE


def scvi_anndataloader(data: Path, seed: int) -> tuple[Epoch, int]:
    """Read all cells into memory and register them as scvi-tools' models do."""
    import anndata as ad
    import torch
    from scvi.data import AnnDataManager
    from scvi.data.fields import LayerField, NumericalObsField
    from scvi.dataloaders import AnnDataLoader

    torch.manual_seed(seed)
    manager = AnnDataManager([LayerField("X", None, is_count_data=True), NumericalObsField("cell", "soma_joinid")])
    manager.register_fields(ad.read_h5ad(data / "cells.h5ad"))
    loader = AnnDataLoader(manager, batch_size=BATCH_SIZE, shuffle=True, load_sparse_tensor=True)

    def epoch() -> Iterator[RawBatch]:
        for batch in loader:
            x = batch["X"]
            joinids = batch["cell"].numpy().ravel().astype(np.int64)
            yield x.crow_indices().numpy(), x.col_indices().numpy(), x.values().numpy(), joinids

    return epoch, BATCH_SIZE


def _as_is(batch: object) -> object:
    return batch


OPEN: dict[str, Callable[[Path, int], tuple[Epoch, int]]] = {
    "annbatch": annbatch,
    "scdataset": scdataset,
    "tiledbsoma_ml": tiledbsoma_ml,
    "annloader": annloader,
    "scvi_anndataloader": scvi_anndataloader,
}
"""How each peer is opened: (folder of the data, seed) to the epochs, and the cells of one refill of its buffer."""
