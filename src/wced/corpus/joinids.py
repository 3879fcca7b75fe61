"""The ids in CELLxGENE of the cells of a corpus, by which a scored cell is found in it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tiledbsoma as soma

from wced.config import corpus as config
from wced.corpus.obs import RANGE_CELLS, obs_of
from wced.corpus.remote import retried
from wced.errors import WcedError
from wced.files import whole_file
from wced.progress import progress
from wced.tables import read_parquet

COLUMNS = ["soma_joinid", "observation_joinid"]
"""Columns of joinids.parquet."""


def write_joinids(census: soma.Collection, section: config.Census, cells_n: np.ndarray, path: str | Path) -> None:
    """Write the `observation_joinid` of cells, a range of the collection at a time.

    Ids are as many as cells, so they are kept out of cells.parquet, of which all rows are in memory at once.

    Parameters
    ----------
    census
        An open collection.
    section
        Its config.
    cells_n
        soma_joinids of the cells, ascending; int64.
    path
        Parquet file to write: soma_joinid and observation_joinid.

    Raises
    ------
    WcedError
        If obs has no such ids.
    """
    obs = obs_of(census, section)
    if COLUMNS[1] not in obs.schema.names:
        raise WcedError(f"the collection's obs has no column {COLUMNS[1]}, so leakage cannot be checked")
    schema = pa.schema([(COLUMNS[0], pa.int64()), (COLUMNS[1], pa.string())])
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        first, last = obs.non_empty_domain()[0]
        for start in progress(range(first, last + 1, RANGE_CELLS), "reading ids", unit="ranges of 1,000,000 cells"):
            stop = min(start + RANGE_CELLS, last + 1)
            wanted = cells_n[np.searchsorted(cells_n, start) : np.searchsorted(cells_n, stop)]
            if not len(wanted):
                continue
            cells = slice(start, stop - 1)
            table = retried(
                section,
                f"obs of soma_joinids {start} to {stop - 1}",
                lambda cells=cells: obs.read(coords=(cells,), column_names=COLUMNS).concat(),
            ).sort_by(COLUMNS[0])
            kept = np.searchsorted(table[COLUMNS[0]].to_numpy(), wanted)
            writer.write_table(table.take(kept).select(COLUMNS).cast(schema))


def read_joinids(path: str | Path, cells_n: np.ndarray) -> np.ndarray:
    """Return the `observation_joinid` of cells by their soma_joinids, in any order; object.

    Raises
    ------
    WcedError
        If the file lacks one of them.
    """
    frame = read_parquet(path, "observation_joinids of the corpus", COLUMNS)
    place = pd.Index(frame[COLUMNS[0]]).get_indexer(cells_n)
    if (place < 0).any():
        raise WcedError(f"{path}: has no cell {cells_n[place < 0][0]} of the corpus; make it again")
    return frame[COLUMNS[1]].to_numpy(object)[place]
