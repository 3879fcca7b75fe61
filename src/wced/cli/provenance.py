"""The command that shows how a file was made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wced.cli.frame import Option, command
from wced.files import sha256

if TYPE_CHECKING:
    from wced.provenance import Product

FOLDER = "(folder)".ljust(64)
"""What stands for the checksum of a folder."""


@command
def provenance(
    file: Annotated[Path, Option("Table, checkpoint, shard, index, embedding, figure or page of a run.")],
    /,
    chain: Annotated[bool, Option("Show every step from the file back to its sources, not only the last.")] = False,
) -> None:
    """Show how a file was made: command, config, code, packages, seeds, device, time, and from which sources."""
    from wced.provenance import trace

    product = trace(file)
    print(*(_steps(product, "file", 0, set()) if chain else [*_record(product), *_sources(product)]), sep="\n")


def _record(product: "Product") -> list[str]:
    """Return the record of a file in lines."""
    import yaml

    record = product.record
    lines = [
        record["output"],
        f"command:  wced {record['command']}",
        f"code:     {_code(record)}, Python {record['python']}",
    ]
    for name in ("seed", "device", "precision"):
        if record.get(name) is not None:
            lines.append(f"{name + ':':<9} {record[name]}")
    lines += [f"host:     {record['host']}, {record['cpus']} CPUs", f"started:  {record['started']}"]
    for name, key, unit in (("seconds", "seconds", ""), ("cpu", "cpu_seconds", " s"), ("memory", "max_rss_mb", " MB")):
        lines += [f"{name + ':':<9} {record[key]}{unit}"] if key in record else []
    lines.append("packages: " + ", ".join(f"{name} {version}" for name, version in record["packages"].items()))
    if record["section"]:
        text = yaml.safe_dump(record["section"], sort_keys=False, allow_unicode=True, width=100)
        lines += ["section:", *(f"  {line}" for line in text.splitlines())]
    lines.append("inputs:" if product.inputs else "inputs:   none")
    lines += [f"  {_digest(part)}  {part.path}  ({name}){_change(part)}" for name, part in product.inputs.items()]
    outputs = record.get("outputs", {record["output"]: None})
    lines += ["outputs:", *(f"  {digest or FOLDER}  {path}" for path, digest in outputs.items())]
    recorded = outputs[record["output"]]
    if recorded is not None and product.path.is_file() and sha256(product.path) != recorded:
        lines.append(f"{product.path} is no longer the file that was recorded: it was changed or replaced since")
    return lines


def _sources(product: "Product") -> list[str]:
    """Return the sources of a file in lines."""
    sources = [f"  {_digest(part)}  {path}{_archive(part.record)}" for path, part in product.sources().items()]
    return ["sources at the end of the chain (--chain shows the way):", *sources]


def _steps(product: "Product", name: str, depth: int, shown: set[Path]) -> list[str]:
    """Return a line for a file and, indented below it, for its inputs; the inputs of a file are shown once."""
    how = "source"
    if product.record is not None:
        command = f"wced {product.record['command']}{_archive(product.record)}"
        how = f"{command}; {_code(product.record)}; {product.record['seconds']} s"
    again = product.path in shown and product.inputs
    digest = f" {product.sha256}" if product.sha256 is not None and not product.inputs else ""
    lines = [f"{'  ' * depth}{product.path} ({name}): {'as above' if again else how}{_change(product)}{digest}"]
    if not again:
        shown.add(product.path)
        for input_name, part in product.inputs.items():
            lines += _steps(part, input_name, depth + 1, shown)
    return lines


def _digest(part: "Product") -> str:
    return part.sha256 or ("(no checksum)".ljust(64) if part.path.is_file() else FOLDER)


def _change(part: "Product") -> str:
    """Return whether a file is no longer what its reader read."""
    if not part.path.exists():
        return " NO LONGER THERE"
    return " MADE ANEW SINCE, of something else" if part.changed else ""


def _archive(record: dict[str, Any] | None) -> str:
    """Return where a download came from."""
    section = {} if record is None else record["section"]
    origin = section.get("archive") or section.get("url")
    return f" of {origin}" if origin and record["command"] in ("download", "fetch") else ""


def _code(record: dict[str, Any]) -> str:
    commit, modified = record.get("commit"), ", modified" if record.get("modified") else ""
    return f"wced {record['wced']}" + (f" (commit {commit[:12]}{modified})" if commit else "")
