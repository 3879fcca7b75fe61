"""Reading the columns of obs that a selection needs, in ranges of cells, into few bytes a cell; and ids of cells.

Text is kept as codes of a dictionary that all ranges share, so tens of millions of cells fit into a few gigabytes.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tiledbsoma as soma

from wced.config import corpus as config
from wced.contracts import UNKNOWN, is_unknown
from wced.corpus.remote import retried
from wced.errors import WcedError, one_line
from wced.files import whole_file
from wced.progress import progress
from wced.tables import read_parquet

RANGE_CELLS = 1_000_000
"""Consecutive soma_joinids that are read at once: about 150 MB while they are being coded."""

SELECTIONS = {"tissues": "tissue_general", "assays": "assay", "diseases": "disease"}
"""Keys of the config section that select cells, and the column that each is about."""

_DTYPES = {"nnz": np.int32, "n_measured_vars": np.int32, "mt_fraction": np.float32}
"""Numbers that fewer bits can hold. `raw_sum` stays as it is: Smart-seq2 goes beyond what a float32 counts exactly."""


def read_obs(census: soma.Collection, section: config.Census, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns of obs (`soma_joinid` among them) of the cells that meet the conditions of the config.

    Rows ascend in soma_joinid. Text is categorical (categories sorted, none unused; an empty value and `na` are
    `unknown`), genes are int32, fractions float32; numbers with empty values are float64. Raises WcedError if obs lacks
    a column, the value filter is wrong, a selected value does not exist or no cell matches.
    """
    obs = obs_of(census, section)
    for name in columns:
        if name not in obs.schema.names:
            raise WcedError(f"the collection's obs has no column {name}")
    condition = _value_filter(obs, section)
    room = retried(section, "the number of cells", lambda: obs.count)
    parts: dict[str, _Column] = {}
    for name in columns:
        kind = obs.schema.field(name).type
        is_number = pa.types.is_primitive(kind)
        parts[name] = _Column(_DTYPES.get(name, kind.to_pandas_dtype()), room) if is_number else _Text(np.int8, room)
    for start, last in _ranges(obs, "reading obs"):
        table = _read_range(obs, section, start, last, columns, condition)
        for name, part in parts.items():
            part.add(table[name])
    frame = pd.DataFrame({name: parts.pop(name).whole() for name in columns}, copy=False)
    if frame.empty:
        raise WcedError(
            f"no cell of the collection matches {condition!r}" if condition else "the collection has no cell"
        )
    return frame


def obs_of(census: soma.Collection, section: config.Census) -> soma.DataFrame:
    """Return obs of the organism, which is opened when it is first asked for."""
    return retried(section, "obs", lambda: census["census_data"][section.organism].obs)


def _ranges(obs: soma.DataFrame, name: str) -> Iterator[tuple[int, int]]:
    """Yield the first and the last soma_joinid of ranges of `RANGE_CELLS`, and show how far they have come."""
    first, last = obs.non_empty_domain()[0]
    for start in progress(range(first, last + 1, RANGE_CELLS), name, unit="ranges of 1,000,000 cells"):
        yield start, min(start + RANGE_CELLS - 1, last)


def _read_range(
    obs: soma.DataFrame, section: config.Census, start: int, last: int, columns: Sequence[str], condition: str | None
) -> pa.Table:
    """Read columns of the cells of a range of obs that meet a condition, ascending soma_joinid."""

    def read() -> pa.Table:
        try:
            return obs.read(coords=(slice(start, last),), column_names=list(columns), value_filter=condition).concat()
        except soma.SOMAError as failure:
            if "query condition" in str(failure):  # no fault of reading, which would be tried again
                raise ValueError(str(failure).partition("At:")[0]) from None
            raise

    try:
        table = retried(section, f"obs of soma_joinids {start} to {last}", read)
    except (soma.SOMAError, ValueError, SyntaxError, KeyError) as failure:
        raise WcedError(f"census.obs_value_filter {section.obs_value_filter!r} fails: {one_line(failure)}") from None
    ascending = np.all(np.diff(table["soma_joinid"].to_numpy()) > 0)
    return table if ascending else table.sort_by("soma_joinid")


def _value_filter(obs: soma.DataFrame, section: config.Census) -> str | None:
    """Return the condition that all selections of the config make together, in TileDB-SOMA's query language.

    A value that the collection does not have is refused, with those that are spelt like it.
    """
    parts = [f"({section.obs_value_filter})"] if section.obs_value_filter else []
    for key, name in SELECTIONS.items():
        selected = getattr(section, key)
        if not selected:
            continue
        columns = {column: _text_values(obs, section, column) for column in (name, f"{name}_ontology_term_id")}
        known = sorted(set().union(*columns.values()))
        for value in selected:
            if not any(_is_one_of(text, [value]) for text in known):
                near = get_close_matches(value, known, n=3, cutoff=0.5) or known[:3]
                raise WcedError(
                    f"census.{key}: {value!r} is not among the {name} names and ids of the collection; "
                    f"nearest are {', '.join(map(repr, near))}"
                )
        texts = ((column, sorted(text for text in columns[column] if _is_one_of(text, selected))) for column in columns)
        parts.append("(" + " or ".join(f"{column} in {values!r}" for column, values in texts if values) + ")")
    return " and ".join(parts) or None


def _is_one_of(text: str, selected: Sequence[str]) -> bool:
    """Return whether a value is selected, or one of several (diseases of one cell, joined by `||`) is."""
    return text in selected or not set(text.split(" || ")).isdisjoint(selected)


def _text_values(obs: soma.DataFrame, section: config.Census, column: str) -> set[str]:
    """Return the values that a text column can have, without missing ones."""

    def read() -> set[str]:
        if pa.types.is_dictionary(obs.schema.field(column).type):
            return set(obs.get_enumeration_values([column])[column].to_pylist()) - {None}
        return set().union(*(table[column].unique().to_pylist() for table in obs.read(column_names=[column]))) - {None}

    return retried(section, f"the values of obs.{column}", read)


class _Column:
    """A column of numbers that is filled range by range, in an array that has room for all cells from the start.

    Pages that are never written take no memory, and no second copy is needed to join ranges.
    """

    def __init__(self, dtype: type, room: int) -> None:
        self._values, self._n = np.empty(room, dtype), 0

    def add(self, column: pa.ChunkedArray) -> None:
        if column.null_count:  # as NaN, which only floating point has
            column = column.cast(pa.float64())
            if self._values.dtype.kind != "f":
                self._widen(np.float64)
        self._append(column.to_numpy())

    def whole(self) -> np.ndarray | pd.Categorical:
        return self._values[: self._n]

    def _append(self, values: np.ndarray) -> None:
        self._values[self._n : self._n + len(values)] = values
        self._n += len(values)

    def _widen(self, dtype: np.dtype | type) -> None:
        wider = np.empty(len(self._values), dtype)
        wider[: self._n] = self._values[: self._n]
        self._values = wider


class _Text(_Column):
    """A column of text, as codes of a dictionary that grows with new values."""

    def __init__(self, dtype: type, room: int) -> None:
        super().__init__(dtype, room)
        self._code_of: dict[str, int] = {}
        self._last: tuple[pa.Array, np.ndarray] | None = None

    def add(self, column: pa.ChunkedArray) -> None:
        for chunk in column.chunks:
            encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
            indices = encoded.indices
            if indices.null_count:
                indices = indices.fill_null(-1)  # the last element of the lookup is the code of `unknown`
                self._code_of.setdefault(UNKNOWN, len(self._code_of))
            lookup = self._lookup(encoded.dictionary)
            dtype = np.min_scalar_type(-max(len(self._code_of), 1))
            if dtype.itemsize > self._values.itemsize:
                self._widen(dtype)
            self._append(lookup[indices.to_numpy()])

    def _lookup(self, dictionary: pa.Array) -> np.ndarray:
        """Return the codes of the values of a range's own dictionary, and at the end that of `unknown`."""
        if self._last is None or not dictionary.equals(self._last[0]):
            # CELLxGENE writes `na` where there can be nothing, as for the donor of a cell line.
            values = [UNKNOWN if is_unknown(value) else value for value in dictionary.to_pylist()]
            codes = [self._code_of.setdefault(value, len(self._code_of)) for value in values]
            self._last = dictionary, np.array(codes, np.int32)
        return np.append(self._last[1], np.int32(self._code_of.get(UNKNOWN, 0)))

    def whole(self) -> pd.Categorical:
        codes = super().whole()
        values = np.array(list(self._code_of), dtype=object)
        used = np.flatnonzero(np.bincount(codes, minlength=len(values)))
        used = used[np.argsort(values[used])]
        sorted_code = np.zeros(len(values), codes.dtype)
        sorted_code[used] = np.arange(len(used))
        return pd.Categorical.from_codes(sorted_code[codes], categories=pd.Index(values[used], dtype=object))


def write_joinids(census: soma.Collection, section: config.Census, cells_n: np.ndarray, path: str | Path) -> None:
    """Write the `observation_joinid` of cells (soma_joinids, ascending) as Parquet, a range of obs at a time.

    Ids are as many as cells, so they are kept out of cells.parquet, of which all rows are in memory at once. Raises
    WcedError if obs has no such ids.
    """
    obs = obs_of(census, section)
    schema = pa.schema({"soma_joinid": pa.int64(), "observation_joinid": pa.string()})
    if "observation_joinid" not in obs.schema.names:
        raise WcedError("the collection's obs has no column observation_joinid, so leakage cannot be checked")
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for start, last in _ranges(obs, "reading ids"):
            cells = cells_n[np.searchsorted(cells_n, start) : np.searchsorted(cells_n, last, side="right")]
            if len(cells):
                table = retried(
                    section,
                    f"obs of soma_joinids {start} to {last}",
                    lambda cells=slice(start, last): obs.read(coords=(cells,), column_names=schema.names).concat(),
                ).sort_by("soma_joinid")
                kept = np.searchsorted(table["soma_joinid"].to_numpy(), cells)
                writer.write_table(table.take(kept).select(schema.names).cast(schema))


def read_joinids(path: str | Path, cells_n: np.ndarray) -> np.ndarray:
    """Return the `observation_joinid` (object) of soma_joinids in any order; raise WcedError if one is missing."""
    frame = read_parquet(path, "observation_joinids of the corpus", ["soma_joinid", "observation_joinid"])
    row_n = pd.Index(frame["soma_joinid"]).get_indexer(cells_n)
    if (row_n < 0).any():
        raise WcedError(f"{path}: has no cell {cells_n[row_n < 0][0]} of the corpus; make it again")
    return frame["observation_joinid"].to_numpy(object)[row_n]
