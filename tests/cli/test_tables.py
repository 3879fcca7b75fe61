import pytest
from typer.testing import CliRunner

from wced import tables
from wced.cli import commands
from wced.errors import WcedError
from wced.provenance import provenance_path


def rows(*ranks):
    import pandas as pd

    blank = {"str": "x", "int": 1, "float": 0.5}
    columns = {column.name: blank[column.kind] for column in tables.LEARNABILITY.columns}
    return pd.DataFrame([columns | {"rank": rank} for rank in ranks])


def gather(folder, *parts, schema="learnability"):
    arguments = ["gather", *(str(folder / part) for part in parts), "--schema", schema]
    return CliRunner().invoke(commands.app, [*arguments, "--output", str(folder / "all.tsv")], catch_exceptions=False)


@pytest.fixture
def folder(tmp_path):
    tables.write(rows(3, 1), tables.LEARNABILITY, tmp_path / "a.tsv")
    tables.write(rows(2), tables.LEARNABILITY, tmp_path / "b.tsv")
    return tmp_path


def test_tables_are_joined_in_the_order_of_the_files(folder):
    assert gather(folder, "b.tsv", "a.tsv").exit_code == 0
    assert tables.read(tables.LEARNABILITY, folder / "all.tsv")["rank"].tolist() == [2, 3, 1]
    assert provenance_path(folder / "all.tsv").exists()


@pytest.mark.parametrize(
    ("parts", "schema", "message"),
    [
        (["a.tsv", "a.tsv"], "learnability", "two rows for"),
        (["a.tsv"], "scores", "column run is missing"),
        (["a.tsv"], "sores", "--schema sores: no such table; there are scores"),
    ],
    ids=["twice", "another_schema", "unknown_schema"],
)
def test_what_does_not_fit_is_refused(folder, parts, schema, message):
    with pytest.raises(WcedError, match=message):
        gather(folder, *parts, schema=schema)
    assert not (folder / "all.tsv").exists()
