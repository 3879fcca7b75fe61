"""All tables: their schemas, which are data, and reading, checking and writing them.

`schemas/` has one file for each room, with a row for each column of its tables, in their order:

- `table` and `column`: names.
- `kind`: `str`, `str or empty`, `int`, `float` (which may always be empty) or `bool`.
- `role`: `key` for the columns that together identify a row; `value` for a finite number that is empty exactly when
  the column `reason` is filled.
- `description`: what the column holds, with its unit; `as in scores` if it is that of the same column in that table.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wced.errors import WcedError, one_line
from wced.files import existing, whole_file

HEADER = ["table", "column", "kind", "role", "description"]
"""Columns of the files of schemas."""

_DTYPES = {"str": "str", "int": "int64", "float": "float64", "bool": "bool"}
_OPTIONAL = "str or empty"
_AS_IN = "as in "


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    kind: str
    """`str`, `int`, `float` or `bool`."""
    description: str
    optional: bool
    """Whether text may be empty; a float always may."""


@dataclass(frozen=True)
class Table:
    """A table's columns, in order, and the columns that identify a row."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    value: str | None
    """The column of finite numbers that is empty exactly when the column `reason` is filled."""

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]


def schemas(folder: str | Path) -> dict[str, Table]:
    """Return all tables by name, from a folder with one TSV file of columns for each room.

    Raises
    ------
    WcedError
        If a file does not have the form above; it names the file and the table or line.
    """
    files = {path: _rows(path) for path in sorted(Path(folder).glob("*.tsv"))}
    descriptions = {(table, column): text for rows in files.values() for table, column, _, _, text in rows}
    tables: dict[str, Table] = {}
    for path, rows in files.items():
        for name, rows_of_table in groupby(rows, key=itemgetter(0)):
            try:
                if name in tables:
                    raise ValueError("is declared twice")
                tables[name] = _table(name, list(rows_of_table), descriptions)
            except ValueError as failure:
                raise WcedError(f"{path}: table {name} {failure}") from None
    return tables


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream, delimiter="\t")
    if header != HEADER:
        raise WcedError(f"{path}: the columns are {', '.join(header)}, not {', '.join(HEADER)}")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(HEADER):
            raise WcedError(f"{path}, line {line}: {len(row)} values, not {len(HEADER)}")
    return rows


def _table(name: str, rows: list[list[str]], descriptions: Mapping[tuple[str, str], str]) -> Table:
    columns = []
    for _, column, kind, role, text in rows:
        if kind not in (*_DTYPES, _OPTIONAL):
            raise ValueError(f"has column {column} of the unknown kind {kind!r}")
        if role not in ("", "key", "value"):
            raise ValueError(f"has column {column} of the unknown role {role!r}")
        if text.startswith(_AS_IN):
            text = descriptions.get((text.removeprefix(_AS_IN), column), "")
        if text == "" or text.startswith(_AS_IN):
            raise ValueError(f"has column {column} without a description")
        columns.append(Column(column, "str" if kind == _OPTIONAL else kind, text, optional=kind == _OPTIONAL))
    of_role = {role: tuple(row[1] for row in rows if row[3] == role) for role in ("key", "value")}
    table = Table(name, tuple(columns), of_role["key"], next(iter(of_role["value"]), None))
    if len(set(table.names)) < len(columns):
        raise ValueError("has two columns of one name")
    if not table.key:
        raise ValueError("has no key")
    if table.value is not None and "reason" not in table.names:
        raise ValueError("has a value, but no column reason")
    return table


TABLES = schemas(Path(__file__).with_name("schemas"))
"""All tables by their names."""

globals().update({name.upper(): table for name, table in TABLES.items()})  # tables.SCORES is TABLES["scores"]


def checked(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return a copy of `frame` with the table's columns and types; raise WcedError naming what does not fit."""
    for missing in (name for name in table.names if name not in frame.columns):
        raise WcedError(f"table {table.name}: column {missing} is missing")
    for extra in (name for name in frame.columns if name not in table.names):
        raise WcedError(f"table {table.name}: column {extra} is not in its schema")
    frame = frame[table.names].copy()
    for column in table.columns:
        values = frame[column.name]
        if column.kind != "float" and values.isna().any():
            if not column.optional:
                raise WcedError(f"table {table.name}: column {column.name} has an empty value")
            values = values.fillna("")
        try:
            if column.kind == "bool" and not values.isin([True, False]).all():
                raise ValueError("only True and False are")
            if column.kind == "int" and (values.astype("float64") % 1 != 0).any():
                raise ValueError("it holds fractions")
            frame[column.name] = values.astype(_DTYPES[column.kind])
        except (TypeError, ValueError) as failure:
            raise WcedError(f"table {table.name}: column {column.name} is not {column.kind}: {failure}") from None
    repeated = frame.duplicated(list(table.key))
    if repeated.any():
        raise WcedError(f"table {table.name}: two rows for {frame.loc[repeated, list(table.key)].iloc[0].to_dict()}")
    if table.value is not None:
        wrong = (frame[table.value].isna() != (frame["reason"] != "")) | np.isinf(frame[table.value])
        if wrong.any():
            raise WcedError(
                f"table {table.name}: a value is finite, and empty exactly when a reason is given, which fails for "
                f"{frame.loc[wrong, list(table.key)].iloc[0].to_dict()}"
            )
    return frame


def write(frame: pd.DataFrame, table: Table, path: str | Path) -> None:
    """Check a table and write it whole: TSV, or Parquet when `path` ends in .parquet."""
    frame = checked(frame, table)
    with whole_file(path) as temporary:
        if temporary.suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, sep="\t", index=False, float_format="%.6g")


def read(table: Table, paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Return one or several files of one table, checked, as one frame."""
    paths = [paths] if isinstance(paths, str | Path) else paths
    return checked(pd.concat([_read(table, path) for path in paths], ignore_index=True), table)


def _read(table: Table, path: str | Path) -> pd.DataFrame:
    what = f"a table of {table.name}"
    if Path(path).suffix == ".parquet":
        frame = read_parquet(path, what)
    else:
        text = [column.name for column in table.columns if column.kind == "str"]
        numbers = {column.name: [""] for column in table.columns if column.kind != "str"}
        frame = read_text(path, what, dtype=dict.fromkeys(text, "str"), na_values=numbers)
    try:
        return checked(frame, table)
    except WcedError as failure:
        raise WcedError(f"{path}: {failure}") from None


def read_text(path: str | Path, what: str, columns: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """Return a tab-separated table, possibly gzipped, as text without missing values.

    Parameters
    ----------
    what
        What was expected there, for error messages.
    columns
        Names of columns that must be there.
    options
        For `pandas.read_csv`, instead of these defaults.

    Raises
    ------
    WcedError
        If it does not exist, cannot be read or lacks a column.
    """
    options = {"sep": "\t", "dtype": "str", "keep_default_na": False} | options
    try:
        frame = pd.read_csv(existing(path, what), **options)
    except (OSError, EOFError, ValueError) as failure:
        raise WcedError(f"{path}: cannot be read as {what}: {one_line(failure)}") from None
    for missing in (name for name in columns if name not in frame.columns):
        raise WcedError(f"{path}: column {missing} is missing; expected {what}")
    return frame


def read_parquet(path: str | Path, what: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a Parquet file, or some of its columns; raise WcedError as `open_parquet`, or if it lacks a column."""
    file = open_parquet(path, what)
    for missing in (name for name in columns or () if name not in file.schema_arrow.names):
        raise WcedError(f"{path}: has no column {missing}; expected {what}")
    with _whole_parquet(path):
        return file.read(columns=None if columns is None else list(columns)).to_pandas()


def open_parquet(path: str | Path, what: str) -> pq.ParquetFile:
    """Return an open Parquet file; raise WcedError, with `what` it should be, if it is missing, other or truncated."""
    with _whole_parquet(path):
        return pq.ParquetFile(existing(path, what))


@contextmanager
def _whole_parquet(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as failure:
        message = f"{path}: not a whole Parquet file: {one_line(failure)}; delete it and make it again"
        raise WcedError(message) from None
