import re

import pytest

from wced.files import sha256
from wced.provenance import recorded


@pytest.fixture
def run(tmp_path):
    """A download, a dataset made of it, and a table made of the dataset twice."""
    archive, dataset, table = (tmp_path / name for name in ("cells-1.wheel", "cells.h5ad", "scores.tsv"))
    section = {"archive": "cells==1:wheel", "sha256": "0" * 64}
    with recorded(archive, command="download", section=section, inputs={}):
        archive.write_text("archive")
    with recorded(dataset, command="source", section={"dataset": "cells"}, inputs={"file": archive}):
        dataset.write_text("cells")
    given = {"embedding": dataset, "source": dataset}
    with recorded(table, command="score czi", section={"folds": 5}, inputs=given, seed=3) as facts:
        facts["precision"] = "32-true"
        table.write_text("scores")
    return tmp_path


def test_a_record_is_printed_with_its_sources(run, wced):
    code, text, _ = wced("provenance", run / "scores.tsv")
    assert code == 0
    for line in ("command:  wced score czi", "seed:     3", "device:   cpu", "precision: 32-true", "  folds: 5"):
        assert line in text.splitlines()
    assert re.search(r"^code:     wced \d.*Python 3", text, re.M) and "numpy" in text
    assert f"  {sha256(run / 'cells.h5ad')}  {run / 'cells.h5ad'}  (embedding)" in text.splitlines()
    assert text.splitlines()[-1] == f"  {sha256(run / 'cells-1.wheel')}  {run / 'cells-1.wheel'} of cells==1:wheel"


def test_the_chain_shows_every_step_once(run, wced):
    lines = [line.strip() for line in wced("provenance", "--chain", run / "scores.tsv")[1].splitlines()]
    assert len(lines) == 4 and [line.split(" ")[0] for line in lines] == [
        str(run / name) for name in ("scores.tsv", "cells.h5ad", "cells-1.wheel", "cells.h5ad")
    ]
    assert "wced download of cells==1:wheel" in lines[2] and lines[3].endswith("(source): as above")


def test_changes_since_the_record_are_shown(run, wced):
    (run / "scores.tsv").write_text("edited")
    assert "is no longer the file that was recorded" in wced("provenance", run / "scores.tsv")[1]
    with recorded(run / "cells.h5ad", command="source", section={}, inputs={"file": run / "cells-1.wheel"}):
        (run / "cells.h5ad").write_text("other cells")
    (run / "cells-1.wheel").unlink()
    text = wced("provenance", "--chain", run / "scores.tsv")[1]
    assert text.count("MADE ANEW SINCE") == 2 and text.count("NO LONGER THERE") == 1


def test_a_file_without_a_record_is_one_sentence(tmp_path, wced):
    code, text, error = wced("provenance", tmp_path / "none.tsv")
    assert (code, text) == (1, "") and error.startswith(f"wced: {tmp_path / 'none.tsv'}: no such file, and no record")
