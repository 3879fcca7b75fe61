"""scVI (Lopez et al. 2018, scvi-tools), a variational autoencoder trained on the counts of the cells that it embeds."""

import logging
import warnings

import numpy as np
from anndata import AnnData

from wced.embedding.baselines import Cells, Embedded
from wced.embedding.baselines.hvg import highly_variable


def embed(cells: Cells) -> Embedded:
    """Return the latent means of highly variable genes; the decoder is told the batch.

    It trains on one core: the same seed then gives the same numbers on any machine, and so small a network is slower on
    several.
    """
    import scvi
    import torch

    genes, settings = highly_variable(cells.adata, cells.settings.n_top_genes).var_names, cells.settings.scvi
    obs = cells.adata.obs[["batch"]].astype(str).astype("category")
    counts = AnnData(X=cells.adata[:, genes].X.copy(), obs=obs)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loader workers, and its deprecations
        scvi.settings.seed = cells.seed
        scvi.model.SCVI.setup_anndata(counts, batch_key="batch")
        model = scvi.model.SCVI(counts, n_latent=settings.latent, n_layers=settings.layers)
        model.train(
            max_epochs=settings.epochs, accelerator="cpu", enable_progress_bar=False, logger=False,
            enable_checkpointing=False,
        )  # fmt: skip
        latent_nd = model.get_latent_representation()
    torch.set_num_threads(threads)
    n_params = sum(weight.numel() for weight in model.module.parameters())
    return Embedded(np.asarray(latent_nd, np.float32), cells.leakage(batches=True), n_params)
