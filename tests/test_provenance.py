import hashlib
import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version

import pytest

import wced
from wced.provenance import provenance_path, recorded


def test_record_says_what_was_run_on_what(tmp_path):
    (tmp_path / "in.txt").write_text("cells")
    (tmp_path / "folder").mkdir()
    output = tmp_path / "out.tsv"
    inputs = {"cells": tmp_path / "in.txt", "collection": tmp_path / "folder"}
    before = datetime.now(UTC).replace(microsecond=0)
    with recorded(output, command="cells", section={"seed": 1}, inputs=inputs) as facts:
        output.write_text("made")
        facts["device"] = "cpu"
    record = json.loads((tmp_path / "out.tsv.provenance.json").read_text())
    assert record["output"] == str(output)
    assert record["command"] == "cells" and record["section"] == {"seed": 1} and record["device"] == "cpu"
    assert record["inputs"] == {
        "cells": {"path": str(inputs["cells"]), "sha256": hashlib.sha256(b"cells").hexdigest()},
        "collection": {"path": str(inputs["collection"]), "sha256": None},
    }
    assert record["wced"] == wced.__version__ and record["packages"]["torch"] == version("torch")
    assert record["argv"] == sys.argv
    assert before <= datetime.fromisoformat(record["started"]) <= datetime.now(UTC)
    assert record["seconds"] >= 0
    assert output.read_text() == "made"


def test_a_failed_command_leaves_no_record(tmp_path):
    with (
        pytest.raises(RuntimeError, match="broken"),
        recorded(tmp_path / "out", command="cells", section={}, inputs={}),
    ):
        raise RuntimeError("broken")
    assert list(tmp_path.iterdir()) == []


def test_the_record_stands_beside_its_output(tmp_path):
    assert provenance_path(tmp_path / "a.b" / "model") == tmp_path / "a.b" / "model.provenance.json"


@pytest.mark.parametrize("value", [{1, 2}, b"x"], ids=["set", "bytes"])
def test_facts_that_json_does_not_know_are_written_as_text(tmp_path, value):
    with recorded(tmp_path / "out", command="cells", section={}, inputs={}) as facts:
        facts["odd"] = value
    assert json.loads(provenance_path(tmp_path / "out").read_text())["odd"] == str(value)
