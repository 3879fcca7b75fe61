import hashlib
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

import wced
from wced.errors import WcedError
from wced.provenance import PACKAGES, code_version, provenance_path, recipe, record_of, recorded, trace

ROOT = Path(__file__).parents[1]


def record_beside(path):
    return json.loads(provenance_path(path).read_text())


def make(output, inputs, text=None, *, command="made", section=None, folder=False):
    """Write a file, or a folder with one file, and its record."""
    with recorded(output, command=command, section=section or {}, inputs=inputs):
        if folder:
            output.mkdir(exist_ok=True)
        (output / "part" if folder else output).write_text(output.name if text is None else text)
    return output


def test_the_record_has_command_inputs_and_versions(tmp_path):
    (tmp_path / "in.txt").write_text("cells")
    (tmp_path / "folder").mkdir()
    output = tmp_path / "out.tsv"
    inputs = {"cells": tmp_path / "in.txt", "collection": tmp_path / "folder"}
    before = datetime.now(UTC).replace(microsecond=0)
    with recorded(output, command="cells", section={"rate": 1}, inputs=inputs, seed=4) as facts:
        output.write_text("made")
        facts["cells"] = 3
    record = record_beside(output)
    assert record["output"] == str(output)
    assert record["command"] == "cells" and record["section"] == {"rate": 1} and record["cells"] == 3
    assert record["seed"] == 4 and record["device"] == "cpu"
    assert record["inputs"] == {
        "cells": {"path": str(inputs["cells"]), "sha256": hashlib.sha256(b"cells").hexdigest()},
        "collection": {"path": str(inputs["collection"]), "sha256": None, "recipe": None},
    }
    assert record["outputs"] == {str(output): hashlib.sha256(b"made").hexdigest()}
    assert record["wced"] == wced.__version__ and record["packages"] == {name: version(name) for name in PACKAGES}
    assert record["argv"] == sys.argv
    assert before <= datetime.fromisoformat(record["started"]) <= datetime.now(UTC)
    assert record["seconds"] >= 0
    assert output.read_text() == "made"


def test_processor_time_and_memory_include_children(tmp_path):
    burn = "import time\nstart = time.process_time()\nwhile time.process_time() < start + 0.3: pass"
    large = bytearray(b"x") * 200_000_000
    del large
    for name, code in (("busy", burn), ("idle", "")):
        with recorded(tmp_path / name, command="cells", section={}, inputs={}):
            exec(code, {})
            subprocess.run([sys.executable, "-c", code], check=True)
    busy, idle = (record_beside(tmp_path / name) for name in ("busy", "idle"))
    assert busy["cpu_seconds"] >= 0.5 > idle["cpu_seconds"]
    assert 200 < busy["max_rss_mb"] <= idle["max_rss_mb"] < 10_000


def test_facts_of_the_block_replace_those_of_the_record(tmp_path):
    with recorded(tmp_path / "out", command="pretrain", section={}, inputs={}, seed=1) as facts:
        facts |= {"device": "cuda:0", "seed": 7}
        (tmp_path / "out").mkdir()
    record = record_beside(tmp_path / "out")
    assert (record["device"], record["seed"]) == ("cuda:0", 7)


def test_a_failed_command_leaves_no_record(tmp_path):
    block = recorded(tmp_path / "out", command="cells", section={}, inputs={})
    with pytest.raises(RuntimeError, match="broken"), block:
        raise RuntimeError("broken")
    assert list(tmp_path.iterdir()) == []


def test_the_record_is_beside_its_output(tmp_path):
    assert provenance_path(tmp_path / "a.b" / "model") == tmp_path / "a.b" / "model.provenance.json"


def test_every_output_gets_the_record(tmp_path):
    first, second = tmp_path / "a.parquet", tmp_path / "tables" / "b.tsv"
    with recorded(first, command="cells", section={}, inputs={}, also=[second]):
        second.parent.mkdir()
        first.write_text("a")
        second.write_text("b")
    one, two = record_beside(first), record_beside(second)
    assert one.pop("output") == str(first) and two.pop("output") == str(second)
    assert one == two and set(one["outputs"]) == {str(first), str(second)}


@pytest.mark.parametrize("value", [{1, 2}, b"x"], ids=["set", "bytes"])
def test_facts_outside_json_are_written_as_text(tmp_path, value):
    with recorded(tmp_path / "out", command="cells", section={}, inputs={}) as facts:
        facts["odd"] = value
    assert record_beside(tmp_path / "out")["odd"] == str(value)


def test_versions_of_all_packages_that_make_results_are_recorded():
    """A new dependency is recorded, unless it makes no numbers, files or figures."""
    wanted = {re.split(r"[\[<>=!~ ]", line)[0] for line in (ROOT / "envs/requirements.in").read_text().splitlines()}
    tools = "typer rich pyyaml jinja2 unearth tenacity psutil threadpoolctl packaging snakemake-executor-plugin-slurm"
    development = "pytest moto hypothesis pytest-xdist playwright ruff snakefmt sphinx furo myst-parser"
    assert wanted - {"", "#", *tools.split(), *development.split()} <= set(PACKAGES)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one committed file, from which the package seems to run; its folder and its commit."""
    source = tmp_path / "src" / "wced" / "__init__.py"
    source.parent.mkdir(parents=True)
    source.write_text("")

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    monkeypatch.setattr(wced, "__file__", str(source))
    code_version.cache_clear()
    yield tmp_path, git("rev-parse", "HEAD")
    code_version.cache_clear()


@pytest.mark.parametrize(
    ("name", "modified"),
    [(None, False), ("src/wced/__init__.py", True), ("src/wced/new.py", True), ("README.md", False)],
    ids=["unchanged", "changed", "added", "documentation"],
)
def test_the_commit_and_changes_of_its_code_are_recorded(checkout, name, modified):
    folder, commit = checkout
    if name is not None:
        (folder / name).write_text("x = 1")
    assert code_version() == {"commit": commit, "modified": modified}


def test_code_outside_a_checkout_has_no_commit(checkout):
    shutil.rmtree(checkout[0] / ".git")
    assert code_version() == {"commit": None, "modified": None}


@pytest.fixture
def chain(tmp_path):
    """A run: archive → source → collection (a folder) → model (a folder) → table, by relative paths in a folder."""
    run = tmp_path / "results" / "r"
    run.mkdir(parents=True)
    archive = run.parent / "archives" / "cells.whl"
    archive.parent.mkdir()
    archive.write_text("archive")
    source = make(run / "source.h5ad", {"file": archive})
    collection = make(run / "census", {"source": source}, folder=True)
    model = make(run / "model", {"collection": collection}, folder=True)
    make(run / "table.tsv", {"weights": model / "part", "source": source})
    return run


def test_a_table_is_traced_to_the_archive(chain):
    made = trace(chain / "table.tsv")
    assert [part.path.name for part in made.inputs.values()] == ["part", "source.h5ad"]
    collection = made.inputs["weights"].inputs["collection"]
    assert collection.path == chain / "census" and collection.sha256 == recipe(chain / "census")
    digest = hashlib.sha256(b"archive").hexdigest()
    assert {path.name: part.sha256 for path, part in made.sources().items()} == {"cells.whl": digest}
    assert not any(part.changed for part in (made, *made.inputs.values(), collection))


def test_a_file_within_a_folder_has_the_record_of_the_folder(chain):
    assert record_of(chain / "model" / "part") == provenance_path(chain / "model")
    assert trace(chain / "model" / "part").record["output"] == str(chain / "model")


def test_a_run_that_was_moved_is_traced_where_it_is(chain, tmp_path):
    moved = tmp_path / "elsewhere"
    chain.parent.rename(moved)
    assert list(trace(moved / "r" / "table.tsv").sources()) == [moved / "archives" / "cells.whl"]


def test_relative_paths_are_followed_from_another_working_folder(tmp_path, monkeypatch):
    (tmp_path / "work" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    Path("in.txt").write_text("cells")
    make(Path("results/a.tsv"), {"cells": "in.txt"})
    make(Path("results/b.tsv"), {"a": "results/a.tsv"})
    monkeypatch.chdir(tmp_path)
    assert list(trace("work/results/b.tsv").sources()) == [tmp_path / "work" / "in.txt"]


def test_an_input_that_changed_is_marked(chain):
    make(chain / "source.h5ad", {"file": chain.parent / "archives" / "cells.whl"}, text="other cells")
    made = trace(chain / "table.tsv")
    assert made.inputs["source"].changed
    assert made.inputs["weights"].inputs["collection"].inputs["source"].changed
    assert not made.inputs["weights"].changed


def test_a_folder_that_changed_is_marked(chain):
    make(chain / "census", {}, folder=True, section={"organism": "mouse"})
    assert trace(chain / "model").inputs["collection"].changed
    make(chain / "census", {"source": chain / "source.h5ad"}, folder=True)
    assert not trace(chain / "model").inputs["collection"].changed


def test_the_recipe_does_not_depend_on_time_or_place(tmp_path):
    recipes = set()
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "in").write_text("cells")
        recipes.add(recipe(make(tmp_path / place / "out", {"cells": tmp_path / place / "in"}, folder=True)))
    assert len(recipes) == 1
    recipes.add(recipe(make(tmp_path / "a" / "out", {}, folder=True)))
    assert len(recipes) == 2


def test_many_paths_to_one_source_are_followed_once(tmp_path):
    last = tmp_path / "0"
    last.write_text("source")
    for number in range(1, 40):  # 2^39 ways
        last = make(tmp_path / str(number), {"left": last, "right": last})
    assert list(trace(last).sources()) == [tmp_path / "0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no record of how it was made"), ("{", "not a record of wced"), ("[1]", "not a record of wced")],
    ids=["none", "no_json", "no_record"],
)
def test_a_missing_record_is_one_sentence(tmp_path, text, message):
    (tmp_path / "a.tsv").write_text("a")
    if text is not None:
        provenance_path(tmp_path / "a.tsv").write_text(text)
    with pytest.raises(WcedError, match=message):
        trace(tmp_path / "a.tsv")
