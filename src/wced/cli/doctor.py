"""The command that checks whether this machine and a config can make a run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer
from packaging.requirements import Requirement
from packaging.version import Version

import wced
from wced import caches
from wced.archives import archive_file
from wced.cli.frame import Option, command
from wced.config import Run, read
from wced.corpus.availability import check_files, in_words, unavailable
from wced.corpus.datasets import HUMAN, Dataset, check_run, read_datasets
from wced.errors import WcedError, one_line
from wced.files import sha256
from wced.resources import amount, available_memory, free_disk

LEAST_MEMORY, LEAST_DISK = 4e9, 3e9
"""Bytes that the demo needs: its largest job took 2.6 GB of memory, its results and archives 1 GB of disk."""

LOCK = Path(wced.__file__).parents[2] / "envs" / "requirements.lock"
"""The lock of the checkout that the package runs from."""


class Finding(NamedTuple):
    """The state of one thing that was checked."""

    state: Literal["ok", "warning", "wrong"]
    """`wrong` stops a run or changes its results; `warning` may."""
    text: str
    """The state in words and, unless it is ok, what to do."""


@command
def doctor(
    config: Annotated[
        Path | None, Option("Config of a run (YAML) to check too, with its datasets and archives.")
    ] = None,
) -> None:
    """Check environment, GPU, memory, disk and config, and say what is wrong and what to do."""
    wrong = False
    for subject, finding in examine(config):
        wrong = wrong or finding.state == "wrong"
        print(f"{finding.state:<7}  {subject:<9}  {finding.text}", flush=True)
    if wrong:
        raise typer.Exit(1)


def examine(config: str | Path | None = None) -> Iterator[tuple[str, Finding]]:
    """Check everything and yield subjects and findings one by one; with a config also its datasets and archives."""
    yield "python", Finding("ok", f"{sys.version.split()[0]}, {sys.executable}")
    yield "wced", code()
    yield "packages", packages(LOCK)
    yield "training", training()
    yield "gpu", gpu()
    yield "memory", memory()
    yield "caches", cache_folder()
    yield "snakemake", snakemake()
    yield "slurm", slurm()
    if config is None:
        yield "disk", disk("results")
        yield "config", Finding("ok", "not checked; --config FILE checks one, with its datasets and archives")
        return
    try:
        run = read(config)
        rows = read_datasets(run.sources.table)
        check_run(run, rows)
        left_out = unavailable(run, rows)
        run = run.without([row["dataset"] for row in left_out])
        check_files(run, rows)
    except WcedError as error:
        yield "config", Finding("wrong", f"{config}: {error}")
        return
    yield "config", Finding("ok", f"{config}: run {run.run}, {len(run.pretraining.checkpoints)} checkpoints")
    yield "disk", disk(run.results)
    yield from (("datasets", Finding("warning", in_words(row))) for row in left_out)
    used = [*run.census.datasets, *run.embedding.datasets]
    yield "datasets", Finding("ok", f"{len(used)} of {run.sources.table} are used")
    yield from (("archives", finding) for finding in archives(run, rows))


def code() -> Finding:
    """Return which version of this package runs."""
    from wced.provenance import code_version

    known = code_version()
    if known["commit"] is None:
        return Finding("ok", f"{wced.__version__}, not from a git checkout: records of results name no commit")
    modified = ", modified since" if known["modified"] else ""
    return Finding("ok", f"{wced.__version__}, commit {known['commit'][:12]}{modified}")


def packages(lock: Path) -> Finding:
    """Compare the installed packages with a lock; local parts of versions (`+cpu`) do not count."""
    if not lock.exists():
        return Finding("warning", "there is no lock to compare with; only that of the checkout was tested")
    lines = [Requirement(line) for line in lock.read_text().splitlines() if line.strip() and line[0] not in "#-"]
    requirements = [line for line in lines if line.marker is None or line.marker.evaluate()]
    missing, other = [], []
    for requirement in requirements:
        try:
            installed = Version(version(requirement.name)).public
        except PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            other.append(f"{requirement.name} {installed} ({requirement.specifier})")
    advice = f"install the lock: pip install -r {lock}"
    if missing:
        return Finding("wrong", f"{len(missing)} of {lock} are missing: {_few(missing)}; {advice}")
    if other:
        return Finding("warning", f"{len(other)} are not those of {lock}: {_few(other)}; {advice}")
    return Finding("ok", f"all {len(requirements)} of {lock}")


def training() -> Finding:
    """Return how this machine trains, if torch and Lightning can be imported."""
    try:
        import torch

        from wced.pretraining.train import precision_of
    except (ImportError, OSError) as failure:
        reason = one_line(failure)
        return Finding("wrong", f"torch or Lightning cannot be imported ({reason}); install the lock anew")
    threads = f"{torch.get_num_threads()} threads on {len(os.sched_getaffinity(0))} cores"
    return Finding("ok", f"torch {torch.__version__}, {threads}, precision {precision_of('auto')}")


def gpu() -> Finding:
    """Return which GPUs torch sees; one that only the system sees is wrong."""
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return Finding("ok", ", ".join(f"{card.name} with {amount(card.total_memory)}" for card in cards))
    if shutil.which("nvidia-smi") is None:
        return Finding("ok", "none; models train on the CPU")
    if torch.version.cuda is None:
        advice = f"torch {torch.__version__} is a build for CPUs; install the one for CUDA"
    else:
        advice = f"torch is built for CUDA {torch.version.cuda}; check the driver and the cards with nvidia-smi"
    return Finding("wrong", f"there is nvidia-smi, but torch sees no GPU: {advice}")


def memory() -> Finding:
    """Return how much memory is available."""
    available = available_memory()
    if available < LEAST_MEMORY:
        return Finding("warning", f"{amount(available)} available; the demo needs {amount(LEAST_MEMORY)}")
    return Finding("ok", f"{amount(available)} available")


def cache_folder() -> Finding:
    """Return where libraries keep compiled code and fonts."""
    if caches.FALLBACK is None:
        return Finding("ok", os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    text = f"in {caches.FALLBACK}, because ~/.cache or XDG_CACHE_HOME cannot be written; if that folder does not last,"
    return Finding("warning", f"{text} code is compiled again; set XDG_CACHE_HOME to a folder that lasts")


def disk(folder: str | Path) -> Finding:
    """Return how much disk is free for results, and whether they may be written there."""
    path = Path(folder).absolute()
    parent = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(parent, os.W_OK):
        return Finding("wrong", f"{parent} cannot be written; set `results` in the config to another folder")
    free = free_disk(path)
    if free < LEAST_DISK:
        return Finding("warning", f"{amount(free)} free in {parent}; the demo needs {amount(LEAST_DISK)}")
    return Finding("ok", f"{amount(free)} free in {parent}")


def snakemake() -> Finding:
    """Return whether Snakemake is installed, new enough and on the path."""
    try:
        installed = version("snakemake")
    except PackageNotFoundError:
        return Finding("wrong", "it is not installed; install the lock")
    if Version(installed) < Version("9.0"):
        return Finding("wrong", f"{installed}, but the workflow needs 9.0; install the lock")
    if shutil.which("snakemake") is None:
        advice = f"put {Path(sys.executable).parent} there, because rules call `wced`"
        return Finding("warning", f"{installed}, but not on PATH: {advice}")
    return Finding("ok", installed)


def slurm() -> Finding:
    """Return whether jobs can be submitted to Slurm."""
    if shutil.which("sbatch") is None:
        return Finding("ok", "not on this machine: --profile profiles/local runs jobs here")
    try:
        plugin = version("snakemake-executor-plugin-slurm")
    except PackageNotFoundError:
        text = "sbatch is installed, but not snakemake-executor-plugin-slurm; install the lock"
        return Finding("wrong", text)
    done = subprocess.run(["sinfo", "--noheader", "--format=%P"], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("warning", f"no cluster answers ({reason}): only --profile profiles/local runs jobs")
    partitions = ", ".join(done.stdout.split())
    return Finding("ok", f"partitions {partitions}; plugin {plugin}: --profile slurm submits jobs")


def archives(run: Run, rows: dict[str, Dataset]) -> Iterator[Finding]:
    """Yield which archives of a run are missing or damaged."""
    from wced.genes.annotation.references import local_file

    used = [rows[name] for name in dict.fromkeys([*run.census.datasets, *run.embedding.datasets])]
    members = [run.genes.gencode, run.genes.hgnc, *(member for row in used for member in (row.file, row.labels))]
    members += [run.sources.orthologs] if any(row.species != HUMAN for row in used) else []
    wanted = {archive_file(member.archive): member.sha256 for member in members if member and member.archive}
    for reference in run.annotation.references.values() if run.annotation else ():
        if reference.path is None:
            wanted[Path(local_file(reference, "")).name] = reference.sha256
    folder = Path(run.sources.archives)
    missing = [name for name in wanted if not (folder / name).exists()]
    for name, digest in wanted.items():
        if name not in missing and sha256(folder / name) != digest:
            text = f"{folder / name} has another SHA-256 than {digest}; remove it, and snakemake downloads it again"
            yield Finding("wrong", text)
    if missing:
        text = f"{len(missing)} of {len(wanted)} are not in {folder} yet: {_few(missing)}; snakemake downloads them"
        yield Finding("warning", text)
    else:
        yield Finding("ok", f"all {len(wanted)} are in {folder}")


def _few(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
