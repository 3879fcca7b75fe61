"""What the long stages take of disk and memory, estimated before they begin, and said when there is less."""

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
"""The same of a training process: torch, Lightning and compiled code."""

BATCH_NONZEROS = 2**25
"""`wced.shards.counts.BATCH_NONZEROS`, without importing what that needs (a test keeps them equal)."""


@dataclass(frozen=True)
class Need:
    """What a stage is expected to take, in bytes."""

    what: str
    """The stage, as a sentence begins with it."""
    disk: float = 0.0
    """Written and kept, or there at one time."""
    memory: float = 0.0
    """Largest resident memory of the process."""


def cells(rows: int) -> Need:
    """Return what selecting from so many cells of obs takes.

    73 bytes of memory per cell and 0.5 GB are the line through the measured 1.1 GB of 10,000,000 and 5.0 GB of
    62,600,000 cells (docs/corpus.md). cells.parquet had 9 bytes per cell in the demo.
    """
    return Need("the selection of cells", disk=10 * rows, memory=0.5 * GB + 73 * rows)


def census(sources: Sequence[str | Path]) -> Need:
    """Return what a collection of harmonised datasets takes: 0.7 of their files' size; the demo's took 0.60."""
    return Need("the collection", disk=0.7 * sum(Path(path).stat().st_size for path in sources))


def shard(cells: int, nonzeros: int) -> Need:
    """Return what writing a shard of so many cells with so many expressed genes takes.

    6 bytes for each expressed gene, an id of 16 and a count of 32 bits, and 66 a cell (docs/formats.md; the demo: 66).
    Memory grows with the record batch, which has 2^25 non-zeros at most: then 1.2 GB (docs/census.md).
    """
    memory = PROCESS + 25 * min(nonzeros, BATCH_NONZEROS)
    return Need("the shard", disk=6 * nonzeros + 66 * cells, memory=memory)


def gene_errors(genes: int, blocks: int, epochs: int, decoders: int) -> Need:
    """Return what the errors of genes take over a training.

    Memory: three float64 per block and gene, and two histograms of 512 32-bit counts per gene
    (`wced.pretraining.gene_errors`). Disk: 19 bytes per block, gene and epoch (the demo: 18.3) and 65 per gene and
    epoch, twice, because the files of the epochs stay until they are joined.
    """
    disk = 2 * epochs * decoders * genes * (19 * blocks + 65)
    return Need("the errors of genes", disk=disk, memory=decoders * genes * (24 * blocks + 2 * 512 * 4))


def pretraining(
    parameters: int, tokens: int, layers: int, hidden_size: int, intermediate_size: int, errors: Need, *, on_gpu: bool
) -> Need:
    """Return what a training takes.

    Memory: 16 bytes per parameter (float32 weights, gradients and both moments of Adam) and, per token and layer,
    4 (10.5 hidden_size + 5.5 intermediate_size) bytes of activations: fitted to the peaks of steps at the paper's size
    in float32 (docs/speed.md: 3.4 GB at width 1,024, 3.9 GB at 1,536). bfloat16 takes about two thirds of the
    activations, gradient checkpointing far less. In the demo the peak was 1.3 to 2 times the estimate, which so is
    rather too low. Disk: two states of 12 bytes per parameter, one of them being written, and three times the weights:
    trained, at step 0, and these once more in the training state.

    Parameters
    ----------
    parameters
        Weights of the model.
    tokens
        Positions of a batch: cells × length.
    layers, hidden_size, intermediate_size
        Size of the encoder.
    errors
        What `gene_errors` returns.
    on_gpu
        Whether weights, activations and sums are in the memory of a GPU, which is not looked at.
    """
    activations = 4 * tokens * layers * (10.5 * hidden_size + 5.5 * intermediate_size)
    held = 0 if on_gpu else 16 * parameters + activations + errors.memory
    return Need("the training", disk=36 * parameters + errors.disk, memory=TRAINING + held)


def available_memory() -> int:
    """Return the bytes that a process can still take: those of the machine, or fewer where a control group says so."""
    room = psutil.virtual_memory().available
    return min([room, *_control_groups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))])


def _control_groups(root: Path, membership: Path) -> list[int]:
    """Return what is left in the process's control group and those around it (version 2), where they have limits.

    Slurm and container engines set them. Memory of files, which the system takes back when asked, is not counted.
    """
    lines = membership.read_text().splitlines() if membership.exists() else []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if own is None:
        return []
    left = []
    group = root / own
    for folder in (group, *group.parents):
        limit, used = folder / "memory.max", folder / "memory.current"
        if limit.exists() and (text := limit.read_text().strip()) != "max":
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            left.append(max(int(text) - int(used.read_text()) + int(statistics["inactive_file"]), 0))
    return left


def peak_resident() -> float:
    """Return the largest resident memory that this process ever had, in MB (10^6 bytes).

    On Linux not by `getrusage`, whose maximum begins with the memory of the process that started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def free_disk(folder: str | Path) -> int:
    """Return the free bytes of the file system that a folder is or will be on."""
    folder = Path(folder).absolute()
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def check(need: Need, folder: str | Path) -> None:
    """Say it when memory is short, and refuse to begin when there is too little disk.

    Parameters
    ----------
    need
        The estimate.
    folder
        Where the stage writes.

    Raises
    ------
    WcedError
        If the file system has less free than the stage is expected to write.
    """
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
    """Return bytes in the unit that suits them: `12 MB`, `3.4 GB`."""
    return f"{size / 1e6:,.0f} MB" if size < GB else f"{size / GB:,.1f} GB"
