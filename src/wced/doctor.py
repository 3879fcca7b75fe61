"""Whether this machine and this config can make a run: one finding after the other, each with what to do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version

import wced
from wced import caches
from wced.archives import archive_file
from wced.config import Run
from wced.config.run import read
from wced.corpus.availability import check_files, in_words, unavailable
from wced.corpus.datasets import HUMAN, Dataset, check_run, read_datasets
from wced.errors import WcedError, one_line
from wced.files import sha256
from wced.provenance import code_version
from wced.resources import amount, available_memory, free_disk

LEAST_MEMORY, LEAST_DISK = 4e9, 3e9
"""Bytes; with less, not even the demo is sure to end: its largest job took 2.6 GB, its results and archives 1 GB."""

LOCK = Path(wced.__file__).parents[2] / "envs" / "requirements.lock"
"""The lock of the checkout that the package runs from."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, and how it is."""

    state: Literal["ok", "warning", "wrong"]
    """`wrong` stops a run, or makes it another one; `warning` may."""
    about: str
    """One word."""
    text: str
    """What was found and, unless all is well, what to do."""


def examine(config: str | Path | None = None) -> Iterator[Finding]:
    """Look at everything, one finding at a time.

    Parameters
    ----------
    config
        Config of a run to look at too, with its datasets and archives.
    """
    yield Finding("ok", "python", f"{sys.version.split()[0]}, {sys.executable}")
    yield code()
    yield packages(LOCK)
    yield training()
    yield gpu()
    yield memory()
    yield cache_folder()
    yield snakemake()
    yield slurm()
    if config is None:
        yield disk("results")
        yield Finding("ok", "config", "not asked for; --config FILE looks at one, its datasets and archives")
        return
    try:
        run = read(config)
        rows = read_datasets(run.sources.table)
        check_run(run, rows)
        left_out = unavailable(run, rows)
        run = run.without([row["dataset"] for row in left_out])
        check_files(run, rows)
    except WcedError as error:
        yield Finding("wrong", "config", f"{config}: {error}")
        return
    yield Finding("ok", "config", f"{config}: run {run.run}, {len(run.pretraining.checkpoints)} checkpoints")
    yield disk(run.results)
    yield from (Finding("warning", "datasets", in_words(row)) for row in left_out)
    used = [*run.census.datasets, *run.embedding.datasets]
    yield Finding("ok", "datasets", f"{len(used)} of {run.sources.table} are used")
    yield from archives(run, rows)


def code() -> Finding:
    """Say which version of this package runs."""
    known = code_version()
    if known["commit"] is None:
        return Finding("ok", "wced", f"{wced.__version__}, not from a git checkout: records of results name no commit")
    changed = ", modified since" if known["modified"] else ""
    return Finding("ok", "wced", f"{wced.__version__}, commit {known['commit'][:12]}{changed}")


def packages(lock: Path) -> Finding:
    """Compare the packages that are installed with those of a lock; local parts of versions (`+cpu`) do not count."""
    if not lock.exists():
        return Finding("warning", "packages", "there is no lock to compare with; only that of the checkout was tested")
    wanted = [Requirement(line) for line in lock.read_text().splitlines() if line.strip() and line[0] not in "#-"]
    wanted = [requirement for requirement in wanted if requirement.marker is None or requirement.marker.evaluate()]
    missing, other = [], []
    for requirement in wanted:
        try:
            found = Version(version(requirement.name)).public
        except PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            other.append(f"{requirement.name} {found} ({requirement.specifier})")
    todo = f"install the lock: pip install -r {lock}"
    if missing:
        return Finding("wrong", "packages", f"{len(missing)} of {lock} are missing: {_few(missing)}; {todo}")
    if other:
        return Finding("warning", "packages", f"{len(other)} are not those of {lock}: {_few(other)}; {todo}")
    return Finding("ok", "packages", f"all {len(wanted)} of {lock}")


def training() -> Finding:
    """Say how this machine trains, if what that needs can be imported."""
    try:
        import torch

        from wced.pretraining.train import precision_of
    except (ImportError, OSError) as failure:
        reason = one_line(failure)
        return Finding("wrong", "training", f"torch or Lightning can not be imported ({reason}); install the lock anew")
    threads = f"{torch.get_num_threads()} threads on {len(os.sched_getaffinity(0))} cores"
    return Finding("ok", "training", f"torch {torch.__version__}, {threads}, precision {precision_of('auto')}")


def gpu() -> Finding:
    """Say which GPUs torch sees; one that the system has and torch does not see is wrong."""
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return Finding("ok", "gpu", ", ".join(f"{card.name} with {amount(card.total_memory)}" for card in cards))
    if shutil.which("nvidia-smi") is None:
        return Finding("ok", "gpu", "none; models train on the processor")
    if torch.version.cuda is None:
        todo = f"torch {torch.__version__} is a build for processors; install the one for CUDA"
    else:
        todo = f"torch is built for CUDA {torch.version.cuda}; see what nvidia-smi says of the driver and of the cards"
    return Finding("wrong", "gpu", f"there is nvidia-smi, but torch sees no GPU: {todo}")


def memory() -> Finding:
    """Say how much memory is available."""
    left = available_memory()
    if left < LEAST_MEMORY:
        return Finding("warning", "memory", f"{amount(left)} available, and the demo wants {amount(LEAST_MEMORY)}")
    return Finding("ok", "memory", f"{amount(left)} available")


def cache_folder() -> Finding:
    """Say where libraries keep compiled code and fonts."""
    if caches.FALLBACK is not None:
        text = (
            f"in {caches.FALLBACK}, because ~/.cache or XDG_CACHE_HOME can not be written; where it does not last, code"
        )
        return Finding("warning", "caches", f"{text} is compiled anew; set XDG_CACHE_HOME to a folder that does")
    return Finding("ok", "caches", os.environ.get("XDG_CACHE_HOME") or "~/.cache")


def disk(folder: str | Path) -> Finding:
    """Say how much disk is free where results go, and whether they may be written there."""
    place = Path(folder).absolute()
    there = next(parent for parent in (place, *place.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        return Finding("wrong", "disk", f"{there} may not be written to; set `results` in the config to another folder")
    free = free_disk(place)
    if free < LEAST_DISK:
        return Finding("warning", "disk", f"{amount(free)} free at {there}; the demo wants {amount(LEAST_DISK)}")
    return Finding("ok", "disk", f"{amount(free)} free at {there}")


def snakemake() -> Finding:
    """Say whether the workflow manager is there, and new enough."""
    try:
        found = version("snakemake")
    except PackageNotFoundError:
        return Finding("wrong", "snakemake", "it is not installed; install the lock")
    if Version(found) < Version("9.0"):
        return Finding("wrong", "snakemake", f"{found}, but the workflow needs 9.0; install the lock")
    if shutil.which("snakemake") is None:
        folder = Path(sys.executable).parent
        return Finding("warning", "snakemake", f"{found}, but not on PATH: put {folder} there, for rules call `wced`")
    return Finding("ok", "snakemake", found)


def slurm() -> Finding:
    """Say whether jobs can be submitted to Slurm."""
    if shutil.which("sbatch") is None:
        return Finding("ok", "slurm", "not on this machine: --profile profiles/local runs jobs here")
    try:
        plugin = version("snakemake-executor-plugin-slurm")
    except PackageNotFoundError:
        return Finding("wrong", "slurm", "sbatch is there, but not snakemake-executor-plugin-slurm; install the lock")
    done = subprocess.run(["sinfo", "--noheader", "--format=%P"], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return Finding("warning", "slurm", f"no cluster answers ({said}): only --profile profiles/local runs jobs")
    found = ", ".join(done.stdout.split())
    return Finding("ok", "slurm", f"partitions {found}; plugin {plugin}: --profile slurm submits jobs")


def archives(run: Run, rows: dict[str, Dataset]) -> Iterator[Finding]:
    """Say which archives of a run are there, and which of them are damaged."""
    wanted = _wanted(run, rows)
    folder = Path(run.sources.archives)
    missing = [name for name in wanted if not (folder / name).exists()]
    for name, digest in wanted.items():
        if name not in missing and sha256(folder / name) != digest:
            text = f"{folder / name} has another SHA-256 than {digest}; remove it, and snakemake downloads it anew"
            yield Finding("wrong", "archives", text)
    if missing:
        text = f"{len(missing)} of {len(wanted)} are not in {folder} yet: {_few(missing)}; snakemake downloads them"
        yield Finding("warning", "archives", text)
    else:
        yield Finding("ok", "archives", f"all {len(wanted)} are in {folder}")


def _wanted(run: Run, rows: dict[str, Dataset]) -> dict[str, str]:
    """Return the SHA-256 of every archive and download that a run needs, by the name under which it is kept."""
    from wced.genes.annotation.references import local_file

    used = [rows[name] for name in dict.fromkeys([*run.census.datasets, *run.embedding.datasets])]
    members = [run.genes.gencode, run.genes.hgnc, *(member for row in used for member in (row.file, row.labels))]
    members += [run.sources.orthologs] if any(row.species != HUMAN for row in used) else []
    wanted = {archive_file(member.archive): member.sha256 for member in members if member and member.archive}
    for reference in run.annotation.references.values() if run.annotation else ():
        if reference.path is None:
            wanted[Path(local_file(reference, "")).name] = reference.sha256
    return wanted


def _few(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
