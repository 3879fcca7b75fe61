import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from small_model import VOCABULARY, make_checkpoint


@pytest.fixture(scope="session")
def make():
    return make_checkpoint


@pytest.fixture
def checkpoint():
    return make_checkpoint()


@pytest.fixture
def adata():
    """Seven cells, genes shuffled among others; the last cell expresses no gene of the vocabulary."""
    rng = np.random.default_rng(6)
    names = [*VOCABULARY.gene_ids[3:], "ENSG_other", "ENSG_another"]
    x_ng = rng.poisson(1.5, (7, len(names))).astype(np.float32)
    x_ng[6, :-2] = 0
    cells = ad.AnnData(sparse.csr_matrix(x_ng), var=pd.DataFrame(index=names))
    cells.obs_names = [f"cell{i}" for i in range(7)]
    return cells[:, rng.permutation(len(names))].copy()
