"""Principal components of the pretraining corpus: the linear model that is applied to other cells as it is."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from anndata import AnnData
from scipy import sparse

from wced.embedding import FORMAT_VERSION
from wced.embedding.baselines import Cells, Embedded
from wced.embedding.files import COMMON
from wced.errors import WcedError
from wced.files import existing, whole_file
from wced.shards.components import log1p_10k, principal_components
from wced.shards.reader import ShardSet
from wced.shards.vocabulary import Vocabulary


def embed(cells: Cells) -> Embedded:
    """Return the cells on the principal components of the corpus."""
    if cells.corpus is None:
        raise WcedError("corpus_pca: needs the principal components of the corpus (wced fit-corpus-pca)")
    components = Components.read(cells.corpus)
    return Embedded(components.embed(cells.adata), None, components.n_params, COMMON)


@dataclass(frozen=True)
class Components:
    """A linear map of cells, log1p(counts per 10,000) of the vocabulary's genes, to k numbers."""

    vocabulary: Vocabulary
    """Genes, in order."""
    mean_v: np.ndarray
    """float32, (vocabulary,): mean over the training cells whose dataset measured the gene."""
    loading_vk: np.ndarray
    """float32, vocabulary × k: orthonormal columns, the largest variance first."""

    @property
    def n_params(self) -> int:
        """Number of values that are fitted to the corpus."""
        return self.mean_v.size + self.loading_vk.size

    def write(self, path: str | Path) -> None:
        """Write one npz file."""
        with whole_file(path) as temporary:
            np.savez(
                temporary, format_version=FORMAT_VERSION, gene_ids=np.array(self.vocabulary.gene_ids),
                symbols=np.array(self.vocabulary.symbols), mean_v=self.mean_v, loading_vk=self.loading_vk,
            )  # fmt: skip

    @classmethod
    def read(cls, path: str | Path) -> "Components":
        """Read what `write` wrote; raise WcedError if it is something else or of another format version."""
        try:
            with np.load(existing(path, "principal components of the corpus"), allow_pickle=False) as file:
                version = int(file["format_version"])
                vocabulary = Vocabulary(tuple(file["gene_ids"].tolist()), tuple(file["symbols"].tolist()))
                components = cls(vocabulary, file["mean_v"], file["loading_vk"])
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile):
            raise WcedError(f"{path}: no principal components of a corpus") from None
        if version != FORMAT_VERSION:
            raise WcedError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}; make it again")
        return components

    def embed(self, adata: AnnData) -> np.ndarray:
        """Return cells (raw counts, indexed by Ensembl id) on the components; float32, cells × k.

        A gene that `adata` lacks counts as its mean in the corpus, which is 0 after centring. WcedError is raised if
        it lacks all of them.
        """
        id_g = self.vocabulary.ids_of(adata.var_names)
        known_g = id_g >= 0
        if not known_g.any():
            raise WcedError(f"corpus_pca: none of the {adata.n_vars} genes is in the vocabulary of the corpus")
        x_ng = log1p_10k(sparse.csr_matrix(adata.X)[:, np.flatnonzero(known_g)])
        mean_g, loading_gk = self.mean_v[id_g[known_g]], self.loading_vk[id_g[known_g]]
        return np.asarray(x_ng @ loading_gk - mean_g @ loading_gk, np.float32)


def fit(shards: ShardSet, n_components: int, most_cells: int, seed: int) -> Components:
    """Return the principal components of the training cells; parameters are those of `principal_components`."""
    mean_v, loading_vk = principal_components(shards, n_components, most_cells, seed)
    return Components(replace(shards.vocabulary, names=None), mean_v, loading_vk)
