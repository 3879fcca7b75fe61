"""Opening the CELLxGENE Census or a collection with its layout, and what its datasets measured.

Layout: `census_info/{summary,datasets}` and, for each organism, the experiment `census_data/<organism>` with
`obs`, `ms/RNA/var`, `ms/RNA/X/raw` and `ms/RNA/feature_dataset_presence_matrix` (Census schema, version 2).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cellxgene_census
import numpy as np
import pandas as pd
import tiledbsoma as soma
from scipy import sparse

from wced.config import corpus as config
from wced.corpus.remote import T, reason, retried
from wced.errors import WcedError
from wced.files import existing

BUFFERS = {"soma.init_buffer_bytes": 64 * 2**20}
"""TileDB-SOMA's buffers: its default of 1 GiB for each column is far more than these reads need."""

READING = {
    **BUFFERS,
    "sm.mem.total_budget": 2 * 2**30,
    "sm.mem.tile_upper_memory_limit": 2**27,
    "vfs.s3.connect_max_tries": 8,
    "vfs.s3.connect_scale_factor": 50,
}
"""How a collection is read. TileDB unpacks 128 MiB of tiles at once (1 GiB by default, which is no faster) within a
budget of 2 GiB for a query (10 by default). It asks an object store up to 8 times, waiting 50 ms × 2^n between, before
it reports a fault, which `wced.corpus.remote` handles."""

PARTS = ("obs", "ms/RNA/var", "ms/RNA/X/raw", "ms/RNA/feature_dataset_presence_matrix")
"""Parts of an organism that are read."""


def open_census(section: config.Census, local: str | Path | None = None) -> soma.Collection:
    """Open the collection that a config names, for reading, exactly as the CELLxGENE Census is opened.

    `local` is the folder of the collection that was built from `section.datasets`; it is unused where `section.uri` or
    `section.version` is given. Raises WcedError if there is no such collection, or it has not the organism.

    >>> with open_census(Census(version="2025-01-30")) as census:  # doctest: +SKIP
    ...     census["census_data"]["homo_sapiens"].obs.count
    """
    if section.version is not None:
        where, options = f"Census {section.version}", {"census_version": section.version}
    else:
        where = section.uri or str(existing(local or "", "the folder of a SOMA collection"))
        if "://" not in where:  # TileDB takes a relative path from where the process started
            where = str(Path(where).absolute())
        options = {"uri": where}

    what = f"{where}: cannot be opened as a Census"
    remote = section.version is not None or "://" in where

    def attempts(read: Callable[[], T]) -> T:
        return retried(section, what, read) if remote else read()

    try:
        # Every attempt has a context of its own, so that nothing of a failed one is left.
        census = attempts(lambda: cellxgene_census.open_soma(**options, tiledb_config={**READING, **section.tiledb}))
        try:
            # Each part that is read and exists; otherwise it would be opened at its first use, outside of all attempts.
            for path in ("census_info/datasets", *(f"census_data/{section.organism}/{part}" for part in PARTS)):
                part = census
                for name in path.split("/"):
                    part = attempts(partial(part.get, name)) if part is not None else None
        except BaseException:
            census.close()
            raise
    except (soma.SOMAError, RuntimeError, ValueError, OSError) as failure:
        raise WcedError(f"{what}: {reason(failure)}") from None
    if "census_data" not in census or section.organism not in census["census_data"]:
        census.close()
        raise WcedError(f"{where}: has no census_data/{section.organism}")
    return census


def measured_genes(
    census: soma.Collection, organism: str, dataset_ids: Sequence[str], section: config.Census | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Ensembl ids of all genes of a collection, by soma_joinid, and which of them each dataset measured.

    The second is bool, `dataset_ids` × genes. `section` says how often a read is tried. Raises WcedError if the
    collection has no such dataset.
    """

    def read() -> tuple[pd.DataFrame, pd.DataFrame, sparse.csr_matrix]:
        datasets = census["census_info"]["datasets"].read(column_names=["soma_joinid", "dataset_id"])
        genes = census["census_data"][organism].ms["RNA"].var.read(column_names=["soma_joinid", "feature_id"])
        presence = cellxgene_census.get_presence_matrix(census, organism)
        return datasets.concat().to_pandas(), genes.concat().to_pandas(), presence

    datasets, genes, presence = retried(section or config.Census(), f"measured genes of {census.uri}", read)
    joinids = datasets.astype({"dataset_id": str}).set_index("dataset_id")["soma_joinid"]
    for name in dataset_ids:
        if name not in joinids.index:
            raise WcedError(f"the collection has no dataset {name}")
    genes = genes.sort_values("soma_joinid")
    measured_dg = presence[joinids.loc[list(dataset_ids)].to_numpy()][:, genes["soma_joinid"].to_numpy()]
    return genes["feature_id"].to_numpy(dtype=object), measured_dg.toarray().astype(bool)
