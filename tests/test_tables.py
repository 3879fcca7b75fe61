import csv
import gzip
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from wced import tables
from wced.errors import WcedError

ODD = ["NA", "nan", "null", "None", "", " ", "a\tb", 'quo"ted', "two\nlines", "é ≥ 1", "1.0", "True"]
"""Texts that careless readers change."""


def scores(n=3, **changes):
    texts = {column.name: column.name for column in tables.SCORES.columns if column.kind == "str"}
    numbers = {column.name: 1 for column in tables.SCORES.columns if column.kind == "int"}
    frame = pd.DataFrame({**texts, **numbers, "ci_low": 0.1, "ci_high": np.nan}, index=range(n))
    values = np.linspace(0.25, 0.75, n)
    return frame.assign(metric=[f"m{i}" for i in range(n)], value=values, reason="", **changes)


@pytest.mark.parametrize("suffix", ["tsv", "parquet"])
def test_round_trip(tmp_path, suffix):
    frame = scores(len(ODD), label=ODD, ci_method=ODD)
    path = tmp_path / f"scores.{suffix}"
    tables.write(frame.sample(frac=1, axis=1, random_state=0), tables.SCORES, path)
    result = tables.read(tables.SCORES, path)
    assert result.columns.tolist() == tables.SCORES.names
    assert result["label"].tolist() == ODD and result["ci_method"].tolist() == ODD
    np.testing.assert_allclose(result["value"], frame["value"], rtol=1e-5)
    assert result["ci_high"].isna().all() and result["n"].dtype == np.int64
    tables.write(result, tables.SCORES, tmp_path / f"again.{suffix}")
    assert (tmp_path / f"again.{suffix}").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("suffix", ["tsv", "parquet"])
def test_several_files_are_one_table(tmp_path, suffix):
    parts = [scores(2, model="a"), scores(0), scores(2, model="b")]
    parts[2]["value"] = np.nan
    parts[2]["reason"] = "too few cells"
    paths = [tmp_path / f"{i}.{suffix}" for i in range(3)]
    for part, path in zip(parts, paths, strict=True):
        tables.write(part, tables.SCORES, path)
    result = tables.read(tables.SCORES, paths)
    assert result["model"].tolist() == ["a", "a", "b", "b"]
    assert result["value"].isna().tolist() == [False, False, True, True]
    with pytest.raises(WcedError, match="two rows for"):
        tables.read(tables.SCORES, [paths[0], paths[0]])
    with pytest.raises(WcedError, match="no such file; expected a table of scores"):
        tables.read(tables.SCORES, tmp_path / "none.tsv")


def with_value(column, value, row=1):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="model"), "column model is missing"),
        (lambda frame: frame.assign(note="x"), "column note is not in its schema"),
        (with_value("model", None), "column model has an empty value"),
        (with_value("n", None), "column n has an empty value"),
        (with_value("n", 1.5), "column n is not int: it holds fractions"),
        (with_value("n", "many"), "column n is not int"),
        (with_value("value", "high"), "column value is not float"),
        (lambda frame: frame.assign(metric="m"), r"two rows for \{.*'metric': 'm'"),
        (with_value("value", None), "empty exactly when a reason is given, which fails for .*'metric': 'm1'"),
        (with_value("reason", "none"), "empty exactly when a reason is given, which fails for .*'metric': 'm1'"),
        (with_value("value", np.inf), "a value is finite.*'metric': 'm1'"),
    ],
    ids=[
        "missing_column", "extra_column", "empty_text", "empty_number", "fraction", "text_for_int", "text_for_float",
        "repeated_key", "no_value_no_reason", "value_and_reason", "infinite",
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(WcedError, match=f"^table scores: .*{message}"):
        tables.write(change(scores()), tables.SCORES, tmp_path / "scores.tsv")
    assert list(tmp_path.iterdir()) == []


def test_optional_text_may_be_missing():
    assert tables.checked(scores(ci_method=None), tables.SCORES)["ci_method"].tolist() == [""] * 3


def test_checking_changes_no_frame_in_place():
    frame = scores(ci_method=None)
    before = frame.copy()
    tables.checked(frame, tables.SCORES)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("table", tables.TABLES.values(), ids=tables.TABLES)
def test_schemas_are_sound(table):
    names = table.names
    assert len(set(names)) == len(names) and set(table.key) <= set(names)
    assert all(column.kind in ("str", "int", "float", "bool") and column.description for column in table.columns)
    empty = tables.checked(pd.DataFrame(columns=names), table)
    assert empty.columns.tolist() == names and len(empty) == 0


def schema_files(folder, **rooms):
    """Write one file of schemas for each room, from the lines below the header with commas for tabs."""
    for room, lines in rooms.items():
        text = "\n".join([",".join(tables.HEADER), *lines]) + "\n"
        (folder / f"{room}.tsv").write_text(text.replace(",", "\t"))
    return folder


def test_schemas_are_read_from_one_file_per_room(tmp_path):
    cells = ["cells,cell,str,key,name of the cell", "cells,kept,str or empty,,why"]
    scores = ["scores,cell,str,key,as in cells", "scores,x,float,value,score", "scores,reason,str or empty,,why not"]
    result = tables.schemas(schema_files(tmp_path, a=scores, b=cells))
    assert list(result) == ["scores", "cells"]
    assert result["cells"].columns == (
        tables.Column("cell", "str", "name of the cell", optional=False),
        tables.Column("kept", "str", "why", optional=True),
    )
    assert result["scores"].columns[0] == result["cells"].columns[0]
    assert (result["scores"].key, result["scores"].value, result["cells"].value) == (("cell",), "x", None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["cells,cell,text,key,name"], "table cells has column cell of the unknown kind 'text'"),
        (["cells,cell,str,id,name"], "table cells has column cell of the unknown role 'id'"),
        (["cells,cell,str,key,"], "table cells has column cell without a description"),
        (["cells,cell,str,key,as in nuclei"], "table cells has column cell without a description"),
        (["cells,cell,str,key,as in cells"], "table cells has column cell without a description"),
        (["cells,cell,str,key,name"] * 2, "table cells has two columns of one name"),
        (["cells,cell,str,,name"], "table cells has no key"),
        (["cells,cell,str,key,name", "cells,n,float,value,n"], "table cells has a value, but no column reason"),
        (["cells,cell,str,key,name", "x,x,str,key,x", "cells,n,int,,n"], "table cells is declared twice"),
        (["cells,cell,str,key,name", "cells,n,int"], "line 3: 3 values, not 5"),
    ],
    ids=[
        "kind", "role", "no_description", "as_in_unknown", "as_in_itself", "two_columns", "no_key", "no_reason",
        "two_tables", "short_line",
    ],
)  # fmt: skip
def test_a_schema_of_another_form_is_refused(tmp_path, lines, message):
    with pytest.raises(WcedError, match=rf"room\.tsv.*{message}"):
        tables.schemas(schema_files(tmp_path, room=lines))


def test_a_file_of_schemas_with_other_columns_is_refused(tmp_path):
    (tmp_path / "room.tsv").write_text("table\tcolumn\n")
    with pytest.raises(WcedError, match=r"room\.tsv: the columns are table, column, not table, column, kind, role"):
        tables.schemas(tmp_path)


def test_columns_with_one_meaning_have_one_description():
    """A longer description that another table has for a column of the same name is written as `as in TABLE`."""
    described = []
    for path in sorted((files("wced") / "schemas").iterdir(), key=str):
        rows = csv.DictReader(path.read_text().splitlines(), delimiter="\t")
        described += [(row["column"], row["description"]) for row in rows]
    long = [pair for pair in described if len(pair[1].split()) > 3 and not pair[1].startswith("as in ")]
    assert len(long) > 200 and len(set(long)) == len(long)


@pytest.fixture
def cells(tmp_path):
    path = tmp_path / "cells.parquet"
    pd.DataFrame({"cell": ["a", "b"] * 500, "n": range(1000)}).to_parquet(path, index=False)
    return path


def test_columns_are_in_the_requested_order(cells):
    assert tables.read_parquet(cells, "cells", ["n", "cell"]).equals(pd.read_parquet(cells, columns=["n", "cell"]))
    assert tables.read_parquet(cells, "cells").equals(pd.read_parquet(cells))


def damage(path):
    """Damage a page of values in a file that still opens."""
    content = bytearray(path.read_bytes())
    content[40:400] = bytes(360)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file; expected cells"),
        (lambda path: path.write_text("cells"), "not a whole Parquet file: "),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a whole Parquet file: "),
        (damage, "not a whole Parquet file: "),
    ],
    ids=["missing", "text", "truncated", "damaged"],
)
def test_a_file_that_is_not_parquet_is_refused_by_name(cells, spoil, message):
    spoil(cells)
    with pytest.raises(WcedError, match=f"cells.parquet: {message}") as refusal:
        tables.read_parquet(cells, "cells")
    assert "\n" not in str(refusal.value)


def test_a_column_that_is_missing_is_named(cells):
    with pytest.raises(WcedError, match=r"cells\.parquet: has no column m; expected cells"):
        tables.read_parquet(cells, "cells", ["n", "m"])


def test_text_is_read_unchanged(tmp_path):
    with gzip.open(tmp_path / "genes.tsv.gz", "wt") as stream:
        stream.write("gene\tsymbol\n010\tNA\n1e3\t\n")
    frame = tables.read_text(tmp_path / "genes.tsv.gz", "genes", ["symbol"])
    assert frame.to_dict("list") == {"gene": ["010", "1e3"], "symbol": ["NA", ""]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; expected genes"),
        (b"", "cannot be read as genes: "),
        (b"gene\tsymbol\nA\tB\nA\tB\tC\n", "cannot be read as genes: "),
        (b"gene\tsymbol\n\xff\xfe\t\n", "cannot be read as genes: "),
        (b"gene\tname\n", "column symbol is missing; expected genes"),
    ],
    ids=["missing", "empty", "ragged", "no_text", "column"],
)
def test_a_file_that_is_not_a_table_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "genes.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WcedError, match=rf"genes\.tsv: ({message})") as refusal:
        tables.read_text(path, "genes", ["symbol"])
    assert "\n" not in str(refusal.value)


def test_a_text_that_is_not_gzip_is_refused(tmp_path):
    (tmp_path / "genes.tsv.gz").write_text("gene\n")
    with pytest.raises(WcedError, match=r"genes\.tsv\.gz: cannot be read as genes: "):
        tables.read_text(tmp_path / "genes.tsv.gz", "genes")
