"""Opening Parquet files, or saying in one sentence that they are none."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wced.errors import WcedError
from wced.files import existing


def opened(path: str | Path, what: str) -> pq.ParquetFile:
    """Open a Parquet file.

    Parameters
    ----------
    path
        The file.
    what
        What was expected there, for the sentences.

    Raises
    ------
    WcedError
        If it is not there, or is no Parquet file, or a truncated one.
    """
    try:
        return pq.ParquetFile(existing(path, what))
    except (pa.ArrowException, OSError) as failure:
        raise _refusal(path, failure) from None


def read(path: str | Path, what: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file, or some of its columns.

    Parameters
    ----------
    path, what
        As of `opened`.
    columns
        Names of columns; None for all.

    Raises
    ------
    WcedError
        If it lacks a column or is damaged, besides what `opened` raises.
    """
    file = opened(path, what)
    for missing in (name for name in columns or () if name not in file.schema_arrow.names):
        raise WcedError(f"{path}: has no column {missing}; expected {what}")
    try:
        return file.read(columns=None if columns is None else list(columns)).to_pandas()
    except (pa.ArrowException, OSError) as failure:
        raise _refusal(path, failure) from None


def _refusal(path: str | Path, failure: Exception) -> WcedError:
    reason = " ".join(str(failure).split())
    return WcedError(f"{path}: not a whole Parquet file: {reason}; delete it and make it again")
