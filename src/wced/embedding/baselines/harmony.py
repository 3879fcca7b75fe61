"""Principal components corrected for the batch by Harmony (Korsunsky et al. 2019), with the settings of harmonypy."""

import numpy as np

from wced.embedding.baselines import Cells, Embedded, pca


def embed(cells: Cells) -> Embedded:
    """Return the corrected components; cells of a single batch keep their principal components."""
    components_nk = pca.embed(cells).embedding_nd
    if cells.single_batch:
        return Embedded(components_nk, cells.leakage("one batch, so the same as pca"))
    from harmonypy import run_harmony

    # One core: sums in parallel would make the result depend on the machine.
    corrected = run_harmony(
        components_nk, cells.adata.obs[["batch"]].astype(str), ["batch"], random_state=cells.seed, ncores=1,
        verbose=False,
    )  # fmt: skip
    return Embedded(np.asarray(corrected.Z_corr, np.float32), cells.leakage(batches=True))
