"""How a file was made, written beside it, so that the file itself holds no date, host, duration or path."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wced
from wced.errors import WcedError
from wced.files import sha256, whole_file
from wced.resources import peak_resident

PACKAGES = (
    "anndata", "captum", "cellxgene-census", "cellxgene-ontology-guide", "cz-benchmarks", "h5py", "harmonypy", "igraph",
    "leidenalg", "lightning", "llvmlite", "matplotlib", "numba", "numpy", "pandas", "peft", "pulp", "pyarrow",
    "pydantic", "pynndescent", "safetensors", "scanpy", "scib-metrics", "scikit-learn", "scipy", "scvi-tools",
    "snakemake", "statsmodels", "tiledbsoma", "torch", "torchmetrics", "transformers", "umap-learn",
)  # fmt: skip
"""Packages that numbers, files or figures come from, or that decide what is run."""

ENDING = ".provenance.json"


def provenance_path(output: str | Path) -> Path:
    """Return the path of the record of `output`: `<output>.provenance.json`."""
    output = Path(output)
    return output.with_name(f"{output.name}{ENDING}")


@contextmanager
def recorded(
    output: str | Path,
    *,
    command: str,
    section: Mapping[str, Any],
    inputs: Mapping[str, "str | Path | Mapping[str, str] | None"],
    seed: int | None = None,
    also: Sequence[str | Path] = (),
) -> Iterator[dict[str, Any]]:
    """Write beside `output` and `also`, which the block makes, what was run, on which inputs and with which versions.

    Seconds and processor seconds are those of the block with its child processes; the memory is the peak of this
    process. If the block fails, nothing is written.

    Parameters
    ----------
    command
        Name of the `wced` command.
    section
        The part of the config that the command got.
    inputs
        Name and path of each input, None for one that was left out; or `path` and `sha256`, if the checksum is already
        known. The block may add to them. Of a folder the `recipe` is recorded instead of a checksum.
    seed
        Seed of everything random; None if nothing is.

    Yields
    ------
    dict
        Further facts to record (device, counts), added by the block; they replace entries of the same name.
    """
    facts: dict[str, Any] = {}
    start, clock, used = datetime.now(UTC), time.perf_counter(), sum(os.times()[:4])
    yield facts
    seconds, cpu_seconds = round(time.perf_counter() - clock, 3), round(sum(os.times()[:4]) - used, 2)
    outputs = [output, *also]
    record = {
        "command": command,
        "section": dict(section),
        "seed": seed,
        "inputs": {name: _input(value) for name, value in inputs.items() if value is not None},
        "outputs": {str(path): sha256(path) if Path(path).is_file() else None for path in outputs},
        "wced": wced.__version__,
        **code_version(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "argv": sys.argv,
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "device": _device(),
        "started": start.isoformat(timespec="seconds"),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "max_rss_mb": round(peak_resident(), 1),
        **facts,
    }
    for path in outputs:
        with whole_file(provenance_path(path)) as temporary:
            temporary.write_text(json.dumps({"output": str(path), **record}, indent=1, default=str) + "\n")


def _input(value: str | Path | Mapping[str, str]) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if Path(value).is_file():
        return {"path": str(value), "sha256": sha256(value)}
    return {"path": str(value), "sha256": None, "recipe": recipe(value)}


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of `PACKAGES`."""
    return {name: version(name) for name in PACKAGES}


@cache
def code_version() -> dict[str, Any]:
    """Return the `commit` of the checkout that this package runs from, and whether its code is `modified`.

    Both are None for a package that is installed elsewhere, and without git.
    """
    unknown = {"commit": None, "modified": None}
    checkout = Path(wced.__file__).parents[2]
    if not (checkout / ".git").exists() or shutil.which("git") is None:
        return unknown
    # Without locks, because many jobs may ask at once while the user commits.
    command = ["git", "--no-optional-locks", "-C", checkout, "status", "--porcelain=v2", "--branch", "--"]
    command += ["src", "speed", "workflow", "Snakefile"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), None)
    return unknown if commit is None else {"commit": commit, "modified": any(line[0] != "#" for line in lines)}


def _device() -> str:
    """Return the GPU that this process has used, or `cpu`."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_initialized() else "cpu"


def record_of(path: str | Path) -> Path | None:
    """Return the record of a file or folder, or of the folder that it was made in; None if there is none."""
    path = Path(os.path.normpath(Path(path).absolute()))  # not resolved: a link may have its own record
    records = (provenance_path(part) for part in (path, *path.parents) if part.name)
    return next((record for record in records if record.is_file()), None)


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the content of a provenance file; raise WcedError if it is not one."""
    try:
        record = json.loads(Path(path).read_text())
    except ValueError:
        record = None
    if not isinstance(record, dict) or not {"output", "command", "section", "inputs"} <= set(record):
        raise WcedError(f"{path}: not a record of wced; remove it and make {str(path).removesuffix(ENDING)} again")
    return record


def recipe(path: str | Path) -> str | None:
    """Return the SHA-256 of a folder's command, section, seed and inputs; None if no command made the folder.

    It does not depend on when and where that was.
    """
    record_path = record_of(path)
    if record_path is None:
        return None
    record = read_record(record_path)
    inputs = {name: part["sha256"] or part.get("recipe") for name, part in record["inputs"].items()}
    parts = [record["command"], record["section"], record.get("seed"), inputs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Product:
    """A file or folder in the chain from a result back to its sources."""

    path: Path
    """Where it is now."""
    sha256: str | None
    """Checksum that its reader recorded, or the recipe of a folder; None if neither is known."""
    record: dict[str, Any] | None
    """How it was made; None for a source, which no command made."""
    inputs: dict[str, "Product"]
    """What it was made from, by name."""
    changed: bool
    """Whether it was made again with another content after its reader read it."""

    def sources(self) -> dict[Path, "Product"]:
        """Return the ends of the chain by path: what no command made, or one without inputs, such as a download."""
        ends: dict[Path, Product] = {}
        seen, waiting = set(), [self]
        while waiting:
            part = waiting.pop()
            if part.path not in seen:
                seen.add(part.path)
                ends |= {} if part.inputs else {part.path: part}
                waiting += part.inputs.values()
        return ends


def trace(path: str | Path) -> Product:
    """Return the chain of a file or folder: its record, those of its inputs and so on, also if the run was moved.

    Raises
    ------
    WcedError
        If there is no record of how it was made.
    """
    if record_of(path) is None:
        missing = "" if Path(path).exists() else "no such file, and "
        raise WcedError(f"{path}: {missing}no record of how it was made beside it or its folder (*{ENDING})")
    return _trace(Path(path), {}, {})


def _trace(path: Path, mention: Mapping[str, Any], known: dict[Path, dict[str, Product]]) -> Product:
    """Return the chain of a path as its reader's record mentions it; `known` has the inputs of records already read."""
    digest, record_path = mention.get("sha256") or mention.get("recipe"), record_of(path)
    if record_path is None:
        return Product(path, digest, None, {}, False)
    record, output = read_record(record_path), Path(str(record_path).removesuffix(ENDING))
    if record_path not in known:
        known[record_path] = {}
        for name, part in record["inputs"].items():
            known[record_path][name] = _trace(_path_now(part["path"], record["output"], output), part, known)
    # A file in a folder that was made as a whole has no checksum to compare with.
    now = record.get("outputs", {}).get(record["output"]) if mention.get("sha256") else recipe(path)
    return Product(path, digest, record, known[record_path], None not in (digest, now) and digest != now)


def _path_now(recorded: str, output: str, output_now: Path) -> Path:
    """Return where a recorded path is now, if it was moved together with the output of its record."""
    before, now = Path(output).parts, output_now.resolve().parts
    pairs = list(zip(reversed(before), reversed(now), strict=False))
    same = next((i for i, (part, part_now) in enumerate(pairs) if part != part_now), len(pairs))
    start, start_now = Path(*before[: len(before) - same]), Path(*now[: len(now) - same])
    path = Path(recorded)
    return start_now / path.relative_to(start) if path.is_relative_to(start) else path
