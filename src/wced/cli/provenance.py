"""Commands that say how a file was made, and whether a run can be made here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wced.cli.frame import Option, command
from wced.files import sha256

if TYPE_CHECKING:
    from wced.provenance import Made


@command
def provenance(
    file: Annotated[Path, Option("Table, checkpoint, shard, index, embedding, figure or page of a run.")],
    /,
    chain: Annotated[bool, Option("Show every step from the file back to its sources, not only the last.")] = False,
) -> None:
    """Say how a file was made: command, config, code, packages, seeds, device, time, and from which sources."""
    from wced.provenance import trace

    made = trace(file)
    for line in _steps(made, "file", 0, set()) if chain else [*_record(made), *_sources(made)]:
        print(line)


def _record(made: "Made") -> list[str]:
    """Return what the record of a file says, in lines."""
    import yaml

    record = made.record
    lines = [
        f"{record['output']}",
        f"command:  {_command(record)}",
        f"code:     {_code(record)}, Python {record['python']}",
    ]
    for name in ("seed", "device", "precision"):
        if record.get(name) is not None:
            lines.append(f"{name + ':':<9} {record[name]}")
    lines += [f"host:     {record['host']}, {record['cpus']} CPUs", f"started:  {record['started']}"]
    for name, key in (("seconds", "seconds"), ("cpu", "cpu_seconds"), ("memory", "max_rss_mb")):
        unit = {"cpu": " s", "memory": " MB"}.get(name, "")
        lines += [f"{name + ':':<9} {record[key]}{unit}"] if key in record else []
    lines += ["packages: " + ", ".join(f"{name} {version}" for name, version in record["packages"].items())]
    if record["section"]:
        text = yaml.safe_dump(record["section"], sort_keys=False, allow_unicode=True, width=100)
        lines += ["section:", *(f"  {line}" for line in text.splitlines())]
    lines += ["inputs:" if made.inputs else "inputs:   none"]
    lines += [f"  {_digest(part)}  {part.path}  ({name}){_doubt(part)}" for name, part in made.inputs.items()]
    lines += ["outputs:"]
    for path, digest in record.get("outputs", {record["output"]: None}).items():
        lines.append(f"  {digest or _FOLDER}  {path}")
    recorded = record.get("outputs", {}).get(record["output"])
    if recorded is not None and made.path.is_file() and sha256(made.path) != recorded:
        lines.append(f"{made.path} is no longer the file that was recorded: it was changed or replaced since")
    return lines


def _sources(made: "Made") -> list[str]:
    lines = ["sources at the end of the chain (--chain shows the way):"]
    for path, part in made.sources().items():
        lines.append(f"  {_digest(part)}  {path}{_archive(part.record)}")
    return lines


def _steps(made: "Made", name: str, depth: int, shown: set[Path]) -> list[str]:
    """Return a line for a file and, below and farther in, for what it was made of; what was shown is not repeated."""
    indent, how = "  " * depth, "source"
    if made.record is not None:
        how = f"{_command(made.record)}{_archive(made.record)}; {_code(made.record)}; {made.record['seconds']} s"
    again = made.path in shown and made.inputs
    lines = [f"{indent}{made.path} ({name}): {'as above' if again else how}{_doubt(made)}"]
    if made.sha256 is not None and not made.inputs:
        lines[0] += f" {made.sha256}"
    if not again:
        shown.add(made.path)
        for part_name, part in made.inputs.items():
            lines += _steps(part, part_name, depth + 1, shown)
    return lines


_FOLDER = "(folder)".ljust(64)


def _digest(part: "Made") -> str:
    return part.sha256 or ("(no checksum)" if part.path.is_file() else "(folder)").ljust(64)


def _doubt(part: "Made") -> str:
    if not part.path.exists():
        return " NO LONGER THERE"
    return " MADE ANEW SINCE, of something else" if part.changed else ""


def _archive(record: dict[str, Any] | None) -> str:
    """Return where a download came from."""
    section = {} if record is None else record["section"]
    place = section.get("archive") or section.get("url")
    return f" of {place}" if place and record["command"] in ("download", "fetch") else ""


def _command(record: dict[str, Any]) -> str:
    return f"wced {record['command']}"


def _code(record: dict[str, Any]) -> str:
    commit = record.get("commit")
    modified = ", modified" if record.get("modified") else ""
    return f"wced {record['wced']}" + (f" (commit {commit[:12]}{modified})" if commit else "")


@command
def doctor(
    config: Annotated[
        Path | None, Option("Config of a run (YAML) to look at too, with its datasets and archives.")
    ] = None,
) -> None:
    """Look at environment, GPU, memory, disk and config, and say what is wrong and what to do."""
    from wced.doctor import examine

    wrong = 0
    for finding in examine(config):
        wrong += finding.state == "wrong"
        print(f"{finding.state:<7}  {finding.about:<9}  {finding.text}", flush=True)
    if wrong:
        raise typer.Exit(1)
