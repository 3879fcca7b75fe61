"""The order of the house: no circle of imports, no import of a later room, and four parts of every room."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/wced"
FLOW = ["corpus", "shards", "pretraining", "embedding", "finetuning", "benchmarks", "learnability", "report"]
"""The rooms, in the order in which data flow through them."""
LIBRARIES = {
    "config",
    "contracts",
    "errors",
    "files",
    "genes",
    "model",
    "objectives",
    "ontology",
    "progress",
    "stats",
    "tables",
}
"""What rooms share and what knows none of them."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, within functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            parts = (f"{node.module}.{alias.name}" for alias in node.names)
            names |= {part if part in MODULES else node.module for part in parts}
    return names & MODULES.keys() - {name_of(path)}


def room(module: str) -> str:
    """Return the package or module directly in `wced`."""
    return module.split(".")[1]


FILES = {name: imports(path) for name, path in MODULES.items()}
COLLECTED = {"wced.config.benchmarks": {"benchmarks"}}
"""Sections of benchmarks are in their folders, from which the config collects them."""
ROOMS: dict[str, set[str]] = {}
for name, others in FILES.items():
    if name != "wced":  # which gives everybody its version and path, and imports what Python users call
        rooms = {room(other) for other in others - {"wced"}} - {room(name)}
        ROOMS.setdefault(room(name), set()).update(rooms - COLLECTED.get(name, set()))


@pytest.mark.parametrize("graph", [FILES, ROOMS], ids=["files", "rooms"])
def test_no_circle_of_imports(graph):
    assert sum(map(len, graph.values())) > 60
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_import_of_a_later_room():
    order = [*FLOW, "cli", "__main__"]
    assert [(a, b) for i, a in enumerate(order) for b in order[i + 1 :] if b in ROOMS[a]] == []
    assert [(name, ROOMS[name] - LIBRARIES) for name in LIBRARIES if ROOMS[name] & {*order}] == []


@pytest.mark.parametrize("name", FLOW)
def test_a_room_has_a_package_rules_tests_and_a_page(name):
    assert (PACKAGE / name / "__init__.py").exists()
    assert (ROOT / f"workflow/rules/{name}.smk").exists() == (name != "finetuning")  # a command and a benchmark
    assert list((ROOT / "tests" / name).glob("test_*.py"))
    assert (ROOT / f"docs/{name}.md").exists()
