"""Estimates of the disk and memory that the long stages take, compared with what is free before they start."""

import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from wced.errors import WcedError

GB = 1e9

PROCESS = 350e6
"""Bytes of memory of a process with the libraries that read and write cells; measured in the demo."""

TRAINING = 900e6
"""The same for a training process: torch, Lightning and compiled code."""

BATCH_NONZEROS = 2**25
"""`wced.shards.counts.BATCH_NONZEROS`, without that module's imports (a test keeps them equal)."""


@dataclass(frozen=True)
class Need:
    """What a stage is expected to take, in bytes."""

    what: str
    """The stage, as the subject of a sentence."""
    disk: float = 0.0
    """Written and kept, or on disk at one time."""
    memory: float = 0.0
    """Largest resident memory of the process."""


def cells(rows: int) -> Need:
    """Return what it takes to select from this number of cells.

    Memory: the line through 1.1 GB for 10,000,000 and 5.0 GB for 62,600,000 cells, as measured (docs/corpus.md).
    Disk: cells.parquet had 9 bytes per cell in the demo.
    """
    return Need("the selection of cells", disk=10 * rows, memory=0.5 * GB + 73 * rows)


def census(sources: Sequence[str | Path]) -> Need:
    """Return what a collection of harmonised datasets takes: 0.7 of the size of their files; 0.60 in the demo."""
    return Need("the collection", disk=0.7 * sum(Path(path).stat().st_size for path in sources))


def shard(cells: int, nonzeros: int) -> Need:
    """Return what it takes to write a shard of so many cells and expressed genes.

    Disk: 6 bytes per expressed gene (an id of 16 and a count of 32 bits) and 66 per cell (docs/formats.md).
    Memory: that of a record batch, which has at most 2^25 non-zeros: 1.2 GB (docs/census.md).
    """
    memory = PROCESS + 25 * min(nonzeros, BATCH_NONZEROS)
    return Need("the shard", disk=6 * nonzeros + 66 * cells, memory=memory)


def gene_errors(genes: int, blocks: int, epochs: int, decoders: int) -> Need:
    """Return what the errors of genes take in a training.

    Memory: three float64 per block and gene, and two histograms of 512 32-bit counts per gene
    (`wced.pretraining.gene_errors`). Disk: 19 bytes per block, gene and epoch (the demo: 18.3) and 65 per gene and
    epoch, twice, because the files of the epochs stay until they are joined.
    """
    disk = 2 * epochs * decoders * genes * (19 * blocks + 65)
    return Need("the errors of genes", disk=disk, memory=decoders * genes * (24 * blocks + 2 * 512 * 4))


def pretraining(
    parameters: int, tokens: int, layers: int, hidden_size: int, intermediate_size: int, errors: Need, *, on_gpu: bool
) -> Need:
    """Return what a training takes, of `tokens` = cells × length in a batch, with `errors` from `gene_errors`.

    Memory: 16 bytes per parameter (float32 weights, gradients and both moments of Adam) and, per token and layer,
    4 (10.5 hidden_size + 5.5 intermediate_size) bytes of activations: fitted to the peaks of steps at the paper's size
    in float32 (docs/speed.md: 3.4 GB at width 1,024, 3.9 GB at 1,536). bfloat16 takes about two thirds of the
    activations, gradient checkpointing much less. In the demo the peak was 1.3 to 2 times the estimate. What is in the
    memory of a GPU is not counted. Disk: two states of 12 bytes per parameter, one of them being written, and three
    times the weights: trained, at step 0, and those at step 0 again in the training state.
    """
    activations = 4 * tokens * layers * (10.5 * hidden_size + 5.5 * intermediate_size)
    held = 0 if on_gpu else 16 * parameters + activations + errors.memory
    return Need("the training", disk=36 * parameters + errors.disk, memory=TRAINING + held)


def available_memory() -> int:
    """Return the bytes of memory that a process can still take, on the machine and in its control groups."""
    return min([psutil.virtual_memory().available, *_control_groups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))])


def _control_groups(root: Path, membership: Path) -> list[int]:
    """Return what is left of each limit of the process's control group and its parents (version 2).

    Slurm and container engines set them. The cache of files, which the system can free, does not count as used.
    """
    lines = membership.read_text().splitlines() if membership.exists() else []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if own is None:
        return []
    left = []
    for folder in (root / own, *(root / own).parents):
        limit = folder / "memory.max"
        if limit.exists() and (text := limit.read_text().strip()) != "max":
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            used = int((folder / "memory.current").read_text()) - int(statistics["inactive_file"])
            left.append(max(int(text) - used, 0))
    return left


def peak_resident() -> float:
    """Return the largest resident memory that this process ever had, in MB (10^6 bytes).

    On Linux not from `getrusage`, whose maximum starts with the memory of the parent process.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def free_disk(folder: str | Path) -> int:
    """Return the free bytes of the file system of a folder, which need not exist yet."""
    folder = Path(folder).absolute()
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free


def check(need: Need, folder: str | Path) -> None:
    """Warn if memory is short; raise WcedError if the file system of `folder` has less free than the stage writes."""
    free = free_disk(folder)
    if free < need.disk:
        raise WcedError(
            f"{folder}: {need.what} takes about {amount(need.disk)} of disk, but {amount(free)} are free; "
            "free some, or write to another file system"
        )
    memory = available_memory()
    if memory < need.memory:
        print(
            f"wced: warning: {need.what} takes about {amount(need.memory)} of memory, but {amount(memory)} are "
            "available; if it is killed, give it more, or make its batches smaller",
            file=sys.stderr, flush=True,
        )  # fmt: skip


def amount(size: float) -> str:
    """Return bytes with a suitable unit: `12 MB`, `3.4 GB`."""
    return f"{size / 1e6:,.0f} MB" if size < GB else f"{size / GB:,.1f} GB"
