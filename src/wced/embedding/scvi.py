"""scVI, a variational autoencoder of counts, trained on the cells that it embeds."""

import logging
import warnings

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.config.embedding import Scvi


def latent(adata: AnnData, genes: pd.Index, settings: Scvi, seed: int) -> tuple[np.ndarray, int]:
    """Train scVI (Lopez et al. 2018, scvi-tools) on the counts of some genes; return its latent means.

    On one core, so that the same seed gives the same numbers wherever it runs, and because steps of so small a network
    take longer on several.

    Parameters
    ----------
    adata
        Raw counts as X, cells × genes with distinct names; the batch, which encoder and decoder are told, as
        `obs.batch`. It is left as it is.
    genes
        Names of the genes to train on.
    settings
        Epochs and size.
    seed
        Of weights, minibatches and latent draws.

    Returns
    -------
    tuple
        Cells × latent dimensions, float32; and the number of weights.
    """
    import scvi
    import torch

    counts = AnnData(X=adata[:, genes].X.copy(), obs=adata.obs[["batch"]].astype(str).astype("category"))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        # Lightning's advice on loader workers, and its deprecations, are none of the reader's business.
        warnings.simplefilter("ignore")
        scvi.settings.seed = seed
        scvi.model.SCVI.setup_anndata(counts, batch_key="batch")
        model = scvi.model.SCVI(counts, n_latent=settings.latent, n_layers=settings.layers)
        model.train(
            max_epochs=settings.epochs, accelerator="cpu", enable_progress_bar=False, logger=False,
            enable_checkpointing=False,
        )  # fmt: skip
        latent_nd = model.get_latent_representation()
    torch.set_num_threads(threads)
    return np.asarray(latent_nd, np.float32), sum(weight.numel() for weight in model.module.parameters())
