"""What is measured: the works, and the systems that do them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wced.config.pretraining import Order, Panels, Thinning

BATCH_SIZE = 64
"""Cells of a batch."""
BUFFER = 16_384
"""Cells in the shuffle buffer of a system that has one (256 batches)."""
BATCH_WORKS = ("raw_batches", "wced_batches", "mlm_batches", "wced_batches_dense")
WORKS = ("write_shards", *BATCH_WORKS)
"""Works in the order of the table; all but the first two have a length."""


def lengths_of(work: str, lengths: Sequence[int]) -> Sequence[int]:
    """Return the lengths at which a work is measured; 0 stands for a work without a length."""
    if work in ("write_shards", "raw_batches"):
        return (0,)
    # The dense target is the same at any length, so the one in the middle is enough.
    return lengths[len(lengths) // 2 :][:1] if work == "wced_batches_dense" else lengths


@dataclass(frozen=True)
class System:
    """One row of the table for each of its works and lengths."""

    name: str
    package: str
    """Distribution whose version is in the table."""
    works: tuple[str, ...]
    modules: tuple[str, ...]
    """Its imports, made before its memory is measured for the first time."""
    protocol: str
    """Its settings, in words."""
    peers: bool = True
    """Whether it runs in the peers' environment instead of the pipeline's."""
    workers: int = 0
    """Worker threads; with any, the process is not pinned to one core."""
    prepares: bool = False
    """Whether it writes its own store before anything is timed."""


_ORDER = Order()
_BALANCED = {"strategy": "weighted", "columns": ("dataset_id", "cell_type_ontology_term_id")}
ORDERS = {"ours_weighted": Order(**_BALANCED), "ours_one_dataset": Order(**_BALANCED, batches="one_dataset")}
"""Orders of systems of ours that do not simply shuffle."""
_INPUTS = {
    "ours_informative": {"subset": "informative"},
    "ours_left_out": {"leave_out": ["mitochondrial"]},
    "ours_panels": {"panels": Panels(share=1.0, sizes=[5000])},
    "ours_thinned": {"thinning": Thinning(share=1.0)},
    "ours_lengths": {"min_length": 48},
}
INPUTS = _INPUTS | {"ours_varied": {name: value for changes in _INPUTS.values() for name, value in changes.items()}}
"""What systems of ours with varied inputs change in the config section `input`."""


def _ours(name: str, works: tuple[str, ...], protocol: str, package: str = "wced", **options: Any) -> System:
    modules = ("wced.shards.batches", "wced.shards.reader")
    return System(name, package, works, modules, protocol, peers=False, **options)


_TWO = ("raw_batches", "wced_batches")
SYSTEMS = (
    _ours(
        "ours", WORKS,
        f"memory-mapped shards, blocks of {_ORDER.block_cells} cells, shuffled over {_ORDER.buffer_blocks} blocks",
    ),
    _ours("ours_2_workers", BATCH_WORKS, "as ours, two worker threads, not pinned", workers=2),
    _ours("ours_4x_cells", _TWO, "as ours, every shard listed four times"),
    _ours("ours_weighted", _TWO, "as ours, cells weighted by 1/√n of their dataset × cell type"),
    _ours(
        "ours_one_dataset", _TWO, "as ours_weighted, batches of one dataset each, which therefore have no entropy"
    ),
    *(
        _ours(name, ("wced_batches", "mlm_batches"), f"as ours, inputs {words}")
        for name, words in {
            "ours_informative": "of the most informative genes",
            "ours_left_out": "without one gene in a hundred",
            "ours_panels": "of the genes of another dataset or of a random 5,000, for all cells",
            "ours_thinned": "thinned to a rate between 0.1 and 1, for all cells",
            "ours_lengths": "of a length by batch, from 48 on",
            "ours_varied": "with all of these",
        }.items()
    ),
    System(
        "annbatch", "annbatch", WORKS, ("annbatch", "anndata", "zarr", "zarrs"),
        f"its own shuffled zarr store, zarrs codec, chunks of 512 cells, {BUFFER:,} cells in memory, SciPy CSR",
        prepares=True,
    ),
    System(
        "scdataset", "scdataset", BATCH_WORKS, ("scdataset", "anndata"),
        f"backed uncompressed h5ad, BlockShuffling(16), {BUFFER:,} cells a fetch, SciPy CSR",
    ),
    System(
        "tiledbsoma_ml", "tiledbsoma-ml", BATCH_WORKS, ("tiledbsoma_ml", "tiledbsoma"),
        f"local SOMA, shuffle_chunk_size 64, io_batch_size {BUFFER:,}, no eager fetch, SciPy CSR",
    ),
    System(
        "annloader", "anndata", BATCH_WORKS, ("anndata.experimental",),
        "anndata.experimental.AnnLoader, backed uncompressed h5ad, full shuffle, SciPy CSR",
    ),
    System(
        "scvi_anndataloader", "scvi-tools", BATCH_WORKS, ("scvi.dataloaders",),
        "all cells in memory, full shuffle, sparse CSR tensors",
    ),
    System(
        "tiledbsoma", "tiledbsoma", ("write_shards",), ("speed.generate",),
        "bare reading of the same ranges of X as Arrow tables; nothing is written", peers=False,
    ),
    _ours(
        "copy_floor", BATCH_WORKS,
        "numpy.copyto of as many bytes as a batch of ours, from and to buffers larger than the last-level cache",
        package="numpy",
    ),
)  # fmt: skip


def protocol_of(system: System, work: str) -> str:
    """Return the settings of a system for one work; peers deliver raw counts, which one collator finishes for all."""
    if work == "write_shards" and system.name == "annbatch":
        return "DatasetCollection.add_adatas from one h5ad instead of SOMA; shuffles and compresses"
    if work == "write_shards" and system.name == "ours":
        return "from a local SOMA, one shard after the other"
    if system.peers and work not in ("write_shards", "raw_batches"):
        return f"{system.protocol}; finished by wced's own collator"
    return system.protocol
