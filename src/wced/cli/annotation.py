"""Commands of the gene annotation, a part of the room `learnability`."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config import section as read_section
from wced.config.annotation import Annotation
from wced.config.corpus import Genes


def register(app: typer.Typer) -> None:
    """Add the commands `fetch` and `gene-annotation`."""
    app.command()(fetch)
    app.command("gene-annotation")(gene_annotation)


def fetch(
    url: Annotated[str, typer.Option(help="Address of the file.")],
    sha256: Annotated[str, typer.Option(help="SHA-256 that the file must have.")],
    output: Annotated[Path, typer.Option(help="File to write.")],
) -> None:
    """Download one file of a database."""
    from wced.learnability.annotation import references
    from wced.provenance import recorded

    with recorded(output, command="fetch", section={"url": url, "sha256": sha256}, inputs={}):
        references.fetch(url, sha256, output)


def gene_annotation(
    section: Annotated[str, typer.Option(help="Config section `annotation` as JSON.")],
    genes_section: Annotated[str, typer.Option(help="Config section `genes` as JSON.")],
    genes: Annotated[Path, typer.Option(help="Gene table (Parquet).")],
    output: Annotated[Path, typer.Option(help="Annotation to write (Parquet).")],
    sources: Annotated[Path, typer.Option(help="Table of where each column comes from, to write.")],
    groups: Annotated[Path, typer.Option(help="Table of the sizes of families and programs, to write.")],
    archives: Annotated[Path, typer.Option(help="Folder of the downloaded archives.")] = Path("results/archives"),
) -> None:
    """Annotate protein-coding genes with their functional family and expression program."""
    from wced import tables
    from wced.corpus.archives import local_files, opened
    from wced.genes import read
    from wced.learnability.annotation.references import local_file
    from wced.learnability.annotation.table import annotate
    from wced.provenance import recorded

    settings, hgnc = read_section(Annotation, section), read_section(Genes, genes_section).hgnc
    hgnc_file = local_files(hgnc, archives)[0]
    inputs = {name: local_file(reference, archives) for name, reference in settings.references.items()}
    inputs |= {"genes": genes, "hgnc": hgnc_file}
    inputs |= {"families": settings.families} if settings.families is not None else {}
    with recorded(
        output, command="gene-annotation", section=settings.model_dump(), inputs=inputs, also=[sources, groups]
    ) as facts:
        with opened(hgnc, hgnc_file) as names:
            made = annotate(settings, read(genes), names, archives)
        tables.write(made.groups, tables.GENE_GROUPS, groups)
        tables.write(made.sources, tables.GENE_ANNOTATION_SOURCES, sources)
        tables.write(made.genes, tables.GENE_ANNOTATION, output)
        facts["genes"] = len(made.genes)
        print(made.groups[["axis", "row", "group", "genes", "published_genes"]].to_string(index=False))
