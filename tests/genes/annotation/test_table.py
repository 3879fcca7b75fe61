import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from annotation_files import write_annotation
from generated import genes as generated_genes
from generated import write_references
from wced import genes, tables
from wced.cli import commands
from wced.config.annotation import Annotation
from wced.errors import WcedError
from wced.genes.annotation.table import PROGRAMS, annotate, programs, read_families
from wced.genes.table import read_gencode, read_hgnc


@pytest.fixture
def world(tmp_path):
    """Gene table, path of HGNC, and the config section of minute databases of its genes."""
    gencode, hgnc = write_references(tmp_path)
    table = genes.build(read_gencode(gencode), read_hgnc(hgnc))
    section = write_annotation(tmp_path, table[table["protein_coding"]].reset_index(drop=True))
    return table, hgnc, section


def annotated_by(world, **changes):
    table, hgnc, section = world
    return annotate(Annotation(**{**section, **changes}), table, hgnc, "nowhere")


@pytest.mark.parametrize(
    ("dissociation", "cell_cycle", "housekeeping", "identity"), list(product([False, True], repeat=4))
)
def test_every_branch_of_the_tree_of_programs(dissociation, cell_cycle, housekeeping, identity):
    branches = {
        "dissociation": dissociation and not identity,
        "cell_cycle": cell_cycle and not identity,
        "constitutive": housekeeping,
        "identity": identity,
        "unassigned": True,
    }
    expected = next(program for program, here in branches.items() if here)
    members = [np.array([member]) for member in (dissociation, cell_cycle, housekeeping, identity)]
    assert programs(*members).tolist() == [expected]


def test_every_coding_gene_has_one_row(world):
    annotated = annotated_by(world)
    assert annotated.genes["gene_id"].tolist() == world[0].loc[world[0]["protein_coding"], "gene_id"].tolist()
    groups = annotated.groups
    assert groups.groupby("axis")["genes"].sum().to_dict() == {"family": 305, "program": 305}
    assert groups.loc[groups["axis"] == "family", "group"].tolist() == read_families()["family"].tolist()
    assert (annotated.genes["family"] == "Mitochondrial Genome").sum() == 9


def test_sets_come_from_their_files(world):
    annotated = annotated_by(world).genes
    index = np.arange(len(annotated))
    assert (annotated["housekeeping"] == (index % 5 == 0)).all()
    assert (annotated["identity"] == (index % 4 == 3)).all()
    assert annotated.loc[annotated["tf_superclass"] != ""].index.tolist() == index[::30].tolist()
    assert set(annotated.loc[annotated["identity"], "program"]) == {"identity", "constitutive"}
    assert set(annotated["program"]) == set(PROGRAMS) and sum(PROGRAMS.values()) == 19027


def test_every_column_has_a_source(world):
    annotated = annotated_by(world)
    explained = set(annotated.sources["column"]) | {"gene_id", "family_row", "program_is_proxy", "proxies"}
    assert explained == set(annotated.genes.columns)


def test_proxies_are_named(world):
    sources = annotated_by(world).sources.set_index("column")
    assert not sources.loc["housekeeping", "proxy"] and "would have" in sources.loc["housekeeping", "note"]
    annotated = annotated_by(world, housekeeping=None)
    assert annotated.genes["proxies"].unique().tolist() == ["dissociation; housekeeping; identity"]
    sources = annotated.sources.set_index("column")
    assert sources.loc["housekeeping", "proxy"] and sources.loc["program", "proxy"]
    assert sources.loc["housekeeping", "note"].startswith("proxy: ") and "3761" in sources.loc["housekeeping", "note"]
    assert annotated.genes["housekeeping"].sum() == 61  # a fifth of 305
    readings = annotated.groups.loc[annotated.groups["axis"] == "program", "reading"]
    assert readings.str.startswith("proxy: ").all()


def test_with_all_lists_nothing_is_a_proxy(world, tmp_path):
    ids = world[0].loc[world[0]["protein_coding"], "gene_id"].tolist()
    (tmp_path / "core.txt").write_text("OLDCD3D\nNOGENE\n")
    rows = "".join(f"x\t{ids[i]}\t{kind}\n" for i, kind in enumerate(["Group enriched", "Cell type enhanced"]))
    (tmp_path / "hpa.tsv").write_text("Gene\tEnsembl\tRNA single cell type specificity\n" + rows)
    annotated = annotated_by(
        world,
        dissociation={"path": str(tmp_path / "core.txt")},
        cell_type_specificity={"path": str(tmp_path / "hpa.tsv")},
    )
    assert not annotated.genes["program_is_proxy"].any() and not annotated.sources["proxy"].any()
    assert annotated.genes.index[annotated.genes["identity"]].tolist() == [0]
    assert annotated.genes.set_index("gene_symbol").loc["CD3D", "dissociation"]
    core = annotated.sources.query("column == 'dissociation' and names > 0").iloc[0]
    assert (core["names"], core["names_unmapped"], core["genes"]) == (2, 1, 1)


def test_rules_of_ones_own(world, tmp_path):
    header = "row\tfamily\tgo\tsymbol\tnot_symbol\ttf_superclass\tpublished_genes\treading\n"
    (tmp_path / "own.tsv").write_text(header + "1\tMarkers\t\tCD[0-9]*\t\t\t\t\n2\tRest\t\t*\t\t\t\t\n")
    annotated = annotated_by(world, families=str(tmp_path / "own.tsv"))
    expected = sum(symbol[:2] == "CD" and symbol[2].isdigit() for symbol in generated_genes()["symbol"])
    assert annotated.genes["family"].value_counts().to_dict() == {"Rest": 305 - expected, "Markers": expected}
    assert annotated.groups.query("axis == 'family'")["published_genes"].isna().all()
    assert annotated.sources.query("source == 'family rules'")["version"].item() == "own.tsv"


def test_a_list_of_other_genes_is_refused(world, tmp_path):
    (tmp_path / "other.txt").write_text("Xist\nGapdh\n")
    with pytest.raises(WcedError, match=r"none of its 2 names is a protein-coding gene \(annotation.housekeeping\)"):
        annotated_by(world, housekeeping={"path": str(tmp_path / "other.txt")})


def test_command_writes_the_same_bytes_twice(world, tmp_path):
    table, hgnc, section = world
    genes.write(table, tmp_path / "genes.parquet")
    written = []
    for name in ("a", "b"):
        out = [tmp_path / name / file for file in ("genes.parquet", "sources.tsv", "groups.tsv")]
        options = ["--section", json.dumps(section), "--genes", str(tmp_path / "genes.parquet")]
        options += ["--genes-section", json.dumps({"gencode": {"path": "x"}, "hgnc": {"path": str(hgnc)}})]
        options += ["--output", str(out[0]), "--sources", str(out[1]), "--groups", str(out[2])]
        result = CliRunner().invoke(commands.app, ["gene-annotation", *options], catch_exceptions=False)
        assert result.exit_code == 0 and "Unclassified" in result.output
        written.append([path.read_bytes() for path in out])
        schemas = (tables.GENE_ANNOTATION, tables.GENE_ANNOTATION_SOURCES, tables.GENE_GROUPS)
        assert [len(tables.read(schema, path)) for schema, path in zip(schemas, out, strict=True)][::2] == [305, 42]
    assert written[0] == written[1]
    assert str(tmp_path).encode() not in b"".join(written[0])
    assert (tmp_path / "a" / "genes.parquet.provenance.json").exists()
    assert pd.read_parquet(tmp_path / "a" / "genes.parquet")["n_tissues"].eq(4).all()
