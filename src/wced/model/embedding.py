"""The input embedding: the vectors that enter the encoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wced.model import value_encoders
from wced.model.configuration import WcedConfig


class CellEmbedding(nn.Module):
    """CLS tokens, then for each gene the sum of its vector and its value's.

    A value of zero, a hidden value and a hidden gene have tokens of their own. A gene's vector is a row of a learned
    table or, for genes with a vector made elsewhere (`give`), that vector times a learned matrix. Cell-level metadata
    is added to the CLS tokens, the state of a gene (such as perturbed) to its position.
    """

    def __init__(self, config: WcedConfig) -> None:
        super().__init__()
        width, self.given_genes = config.hidden_size, config.given_genes
        # One row at least, so that the lookup of genes needs no exception where all of them are given.
        self.gene = nn.Embedding(max(config.vocabulary_size - self.given_genes, 1), width)
        if self.given_genes:
            given_gw = torch.zeros(self.given_genes, config.given_width)
            # Fixed vectors are a buffer, because loading a model makes every parameter trainable.
            if config.given_trainable:
                self.given_gw = nn.Parameter(given_gw)
            else:
                self.register_buffer("given_gw", given_gw)
            self.register_buffer("row_v", torch.arange(config.vocabulary_size))
            self.given_project = nn.Linear(config.given_width, width)
        self.value = value_encoders.build(config)
        self.zero = nn.Parameter(torch.zeros(width))
        self.mask = nn.Parameter(torch.zeros(width))
        self.gene_mask = nn.Parameter(torch.zeros(width))
        self.state = nn.Parameter(torch.zeros(len(config.gene_states), width)) if config.gene_states else None
        self.cls = nn.Parameter(torch.zeros(config.cls_positions, width))
        self.metadata = nn.ModuleList(nn.Embedding(column["classes"] + 1, width) for column in config.metadata)
        self.norm = nn.LayerNorm(width) if config.embedding_norm else nn.Identity()

    def initialise_tokens(self, std: float) -> None:
        """Initialise the tokens that are no embedding tables at random, with this standard deviation."""
        for token in (self.zero, self.mask, self.gene_mask, self.cls, self.state):
            if token is not None:
                nn.init.normal_(token, std=std)

    @torch.no_grad()
    def give(self, matrix_gw: Tensor, has_row_v: Tensor, std: float) -> None:
        """Set the vectors of genes that were made elsewhere, as `read_gene_embeddings` returns them.

        `matrix_gw` has the vectors in the order of the vocabulary, `has_row_v` says which genes they are of, and `std`
        is the standard deviation that their embeddings start with, whatever the scale of the matrix.
        """
        learned = int((~has_row_v).sum())
        self.row_v[~has_row_v] = torch.arange(learned, device=self.row_v.device)
        self.row_v[has_row_v] = self.gene.num_embeddings + torch.arange(len(matrix_gw), device=self.row_v.device)
        self.given_gw.copy_(matrix_gw)
        length = self.given_gw.square().sum(1).mean().sqrt()
        nn.init.normal_(self.given_project.weight, std=std / float(length))

    def genes(self, gene_nl: Tensor) -> Tensor:
        """Return the vectors of genes; shape (n, l) → (n, l, d)."""
        if not self.given_genes:
            return self.gene(gene_nl)
        row_nl, learned = self.row_v[gene_nl], self.gene.num_embeddings
        given_nl = (row_nl - learned).clamp(min=0)
        if row_nl.numel() < self.given_genes:  # project the smaller of the two: the positions or the matrix
            projected = self.given_project(F.embedding(given_nl, self.given_gw))
        else:
            projected = F.embedding(given_nl, self.given_project(self.given_gw))
        return torch.where((row_nl >= learned).unsqueeze(-1), projected, self.gene(row_nl.clamp(max=learned - 1)))

    def forward(
        self, gene_nl: Tensor, value_nl: Tensor, masked_nl: Tensor | None = None, *,
        gene_masked_nl: Tensor | None = None, gene_state_nl: Tensor | None = None, metadata_nm: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Return input vectors, the k CLS tokens first; shape (n, k + l, d).

        `masked_nl` and `gene_masked_nl` (bool) say which values and which genes are hidden. The state of a gene is 1
        for the first of the config's `gene_states` and 0 for none, the class of unknown metadata is −1.
        """
        k = len(self.cls)
        # All but the gene's vector is one matrix product: features of the shown values and indicators of the tokens,
        # times their vectors. The rows of the CLS tokens are zeros, so nothing of size n × l × d is concatenated.
        zero_nl, none_nl = value_nl == 0, torch.zeros_like(value_nl, dtype=torch.bool)
        masked_nl = none_nl if masked_nl is None else masked_nl
        gene_masked_nl = none_nl if gene_masked_nl is None else gene_masked_nl
        tokens = torch.stack([zero_nl & ~masked_nl, masked_nl, gene_masked_nl], dim=-1)
        vectors = [self.value.vectors(), self.zero[None], self.mask[None], self.gene_mask[None]]
        if self.state is not None:
            gene_state_nl = none_nl if gene_state_nl is None else gene_state_nl
            states = torch.arange(1, len(self.state) + 1, device=value_nl.device)
            tokens = torch.cat([tokens, gene_state_nl.unsqueeze(-1) == states], dim=-1)
            vectors.append(self.state)
        features = self.value.features(value_nl) * ~(zero_nl | masked_nl).unsqueeze(-1)
        vectors_fd = torch.cat(vectors)
        features_nlf = F.pad(torch.cat([features.to(vectors_fd.dtype), tokens], dim=-1), (0, 0, k, 0))
        x_nld = self.genes(F.pad(gene_nl, (k, 0)))
        if gene_masked_nl is not none_nl:
            x_nld.masked_fill_(F.pad(gene_masked_nl, (k, 0)).unsqueeze(-1), 0)
        x_nld += features_nlf @ vectors_fd
        cls_nkd = self.cls
        if self.metadata:
            unknown_1m = torch.full((1, len(self.metadata)), -1, device=value_nl.device)
            code_mn = (unknown_1m if metadata_nm is None else metadata_nm).T
            vectors = [table(code_n + 1) for table, code_n in zip(self.metadata, code_mn, strict=True)]
            cls_nkd = cls_nkd + sum(vectors).unsqueeze(1)
        x_nld[:, :k] = cls_nkd
        return self.norm(x_nld)
