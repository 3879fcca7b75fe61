"""Opening an h5ad file, or saying in one sentence that it is none."""

from pathlib import Path
from typing import Literal

import anndata as ad

from wced.errors import WcedError
from wced.files import existing


def read(path: str | Path, what: str = "an h5ad file", *, backed: Literal["r"] | None = None) -> ad.AnnData:
    """Read an h5ad file.

    Parameters
    ----------
    path
        The file.
    what
        What was expected there, for the sentence about a missing file.
    backed
        `r` leaves X on disk.

    Raises
    ------
    WcedError
        If the file is not there, or is no h5ad file, or a truncated one.
    """
    try:
        return ad.read_h5ad(existing(path, what), backed=backed)
    except (OSError, KeyError) as failure:
        raise WcedError(f"{path}: not an h5ad file, or a truncated one: {failure}") from None
