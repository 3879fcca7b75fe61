"""The ids in CELLxGENE of the cells of a corpus, by which scored cells are found in it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tiledbsoma as soma

from wced.config import corpus as config
from wced.corpus.obs import obs_of, ranges
from wced.corpus.remote import retried
from wced.errors import WcedError
from wced.files import whole_file
from wced.tables import read_parquet

COLUMNS = ["soma_joinid", "observation_joinid"]
"""Columns of joinids.parquet."""


def write_joinids(census: soma.Collection, section: config.Census, cells_n: np.ndarray, path: str | Path) -> None:
    """Write the `observation_joinid` of cells (soma_joinids, ascending) as Parquet, a range of obs at a time.

    Ids are as many as cells, so they are kept out of cells.parquet, of which all rows are in memory at once. Raises
    WcedError if obs has no such ids.
    """
    obs = obs_of(census, section)
    if COLUMNS[1] not in obs.schema.names:
        raise WcedError(f"the collection's obs has no column {COLUMNS[1]}, so leakage cannot be checked")
    schema = pa.schema([(COLUMNS[0], pa.int64()), (COLUMNS[1], pa.string())])
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for start, last in ranges(obs, "reading ids"):
            cells = cells_n[np.searchsorted(cells_n, start) : np.searchsorted(cells_n, last, side="right")]
            if len(cells):
                table = retried(
                    section,
                    f"obs of soma_joinids {start} to {last}",
                    lambda cells=slice(start, last): obs.read(coords=(cells,), column_names=COLUMNS).concat(),
                ).sort_by(COLUMNS[0])
                kept = np.searchsorted(table[COLUMNS[0]].to_numpy(), cells)
                writer.write_table(table.take(kept).select(COLUMNS).cast(schema))


def read_joinids(path: str | Path, cells_n: np.ndarray) -> np.ndarray:
    """Return the `observation_joinid` (object) of soma_joinids in any order; raise WcedError if one is missing."""
    frame = read_parquet(path, "observation_joinids of the corpus", COLUMNS)
    row_n = pd.Index(frame[COLUMNS[0]]).get_indexer(cells_n)
    if (row_n < 0).any():
        raise WcedError(f"{path}: has no cell {cells_n[row_n < 0][0]} of the corpus; make it again")
    return frame[COLUMNS[1]].to_numpy(object)[row_n]
