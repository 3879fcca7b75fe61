"""Other loaders, each opened as its authors recommend; every one yields the same thing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from speed.systems import BATCH_SIZE, BUFFER

RawBatch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""`indptr`, `indices` and `data` of cells × genes as the loader has them (CSR, no copy), and the soma_joinid of each
cell."""
Epoch = Callable[[], Iterator[RawBatch]]
"""Called once for each epoch."""


def _csr(x: sparse.csr_matrix, joinids: Any) -> RawBatch:
    return x.indptr, x.indices, x.data, np.asarray(joinids)


def annbatch(data: Path, seed: int) -> tuple[Epoch, int]:
    """Open annbatch's own store, which is shuffled, with its default chunks of 512 cells, 32 of them in memory."""
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
    return lambda: (_csr(batch["X"], batch["obs"]["soma_joinid"]) for batch in loader), BUFFER


def write_annbatch(data: Path, folder: Path, seed: int) -> None:
    """Write annbatch's store into a folder with its own writer: shuffled, sharded, compressed zarr."""
    from annbatch import DatasetCollection

    _use_zarrs()
    rng = np.random.default_rng(seed)
    DatasetCollection(folder / "cells.zarr").add_adatas([data / "cells.h5ad"], shuffle=True, rng=rng)


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
    loader = DataLoader(dataset, batch_size=None, collate_fn=lambda batch: batch)
    return lambda: (_csr(x, joinids) for x, joinids in loader), BUFFER


def tiledbsoma_ml(data: Path, seed: int) -> tuple[Epoch, int]:
    """Open the SOMA collection; an I/O batch is sampled from chunks of 64 cells and shuffled.

    Fetching the next one ahead of time, in a thread, is slower on one core, so that is off.
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
        return (_csr(x, obs["soma_joinid"]) for x, obs in loader)

    return epoch, BUFFER


def annloader(data: Path, seed: int) -> tuple[Epoch, int]:
    """Open the backed h5ad, without the default converter, which would make every batch dense."""
    import anndata as ad
    from anndata.experimental import AnnLoader

    np.random.seed(seed)  # its sampler uses the global generator # noqa: NPY002
    cells = ad.read_h5ad(data / "cells.h5ad", backed="r")
    loader = AnnLoader([cells], batch_size=BATCH_SIZE, shuffle=True, use_default_converter=False)
    return lambda: (_csr(batch.X, batch.obs["soma_joinid"]) for batch in loader), BATCH_SIZE


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
            x, joinids = batch["X"], batch["cell"].numpy().ravel().astype(np.int64)
            yield x.crow_indices().numpy(), x.col_indices().numpy(), x.values().numpy(), joinids

    return epoch, BATCH_SIZE


OPEN: dict[str, Callable[[Path, int], tuple[Epoch, int]]] = {
    open_loader.__name__: open_loader
    for open_loader in (annbatch, scdataset, tiledbsoma_ml, annloader, scvi_anndataloader)
}
"""How each peer is opened: (folder of the data, seed) to the epochs, and the cells of one refill of its buffer."""
