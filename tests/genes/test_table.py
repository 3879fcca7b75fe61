import gzip

import pytest

from generated import GENCODE_ONLY, MITOCHONDRIAL, N_CODING, write_references
from wced import genes
from wced.errors import WcedError
from wced.genes.table import read_gencode, read_hgnc

HGNC_HEADER = "hgnc_id\tsymbol\tlocus_group\tstatus\talias_symbol\tprev_symbol\tensembl_gene_id\n"


@pytest.fixture
def references(tmp_path):
    return write_references(tmp_path)


@pytest.fixture
def table(references):
    return genes.build(read_gencode(references[0]), read_hgnc(references[1]))


def test_protein_coding_needs_both_authorities(table):
    assert table["protein_coding"].sum() == N_CODING - GENCODE_ONLY + len(MITOCHONDRIAL)
    only_gencode = table[(table["biotype"] == "protein_coding") & ~table["protein_coding"]]
    assert len(only_gencode) == GENCODE_ONLY
    assert (only_gencode["hgnc_id"] == "").all()
    assert set(table.loc[table["mitochondrial"], "symbol"]) == set(MITOCHONDRIAL)


def test_table_is_sorted_and_read_as_it_was_written(table, tmp_path):
    assert table["gene_id"].is_monotonic_increasing
    for path in (tmp_path / "a.parquet", tmp_path / "b.parquet"):
        genes.write(table, path)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    again = genes.read(tmp_path / "a.parquet")
    assert again["previous_symbols"].map(list).tolist() == table["previous_symbols"].tolist()
    assert again.loc[again["symbol"] == "CD3D", "previous_symbols"].item().tolist() == ["OLDCD3D"]


def test_withdrawn_entries_are_not_read(tmp_path):
    path = tmp_path / "hgnc.txt"
    rows = 'HGNC:1\tA\tother\tApproved\t"X|Y"\t\t\nHGNC:2\tB~withdrawn\tother\tEntry Withdrawn\t\t\t\n'
    path.write_text(HGNC_HEADER + rows)
    frame = read_hgnc(path)
    assert frame["symbol"].tolist() == ["A"]
    assert frame["alias_symbol"].tolist() == [["X", "Y"]]


def test_gene_of_two_hgnc_entries_takes_the_one_of_its_symbol(tmp_path):
    gencode, hgnc = tmp_path / "g.csv", tmp_path / "h.txt"
    gencode.write_text("ENSG00000000001,RIGHT,1,100,protein_coding\n")
    row = "HGNC:1\t{}\tprotein-coding gene\tApproved\t\t\tENSG00000000001\n"
    hgnc.write_text(HGNC_HEADER + row.format("ANOTHER") + row.format("RIGHT"))
    assert genes.build(read_gencode(gencode), read_hgnc(hgnc))["hgnc_symbol"].tolist() == ["RIGHT"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ENSG00000000001,A,1,100\n", "5 columns, not 4"),
        ("ENSMUSG0000000001,A,1,100,protein_coding\n", "no human Ensembl gene id"),
        ("ENSG00000000001,A,1,100,lncRNA\n" * 2, "gene ENSG00000000001 has two rows"),
    ],
    ids=["columns", "mouse", "twice"],
)
def test_wrong_gencode_is_refused(tmp_path, text, words):
    path = tmp_path / "genes.csv"
    path.write_text(text)
    with pytest.raises(WcedError, match=f"genes.csv: .*{words}"):
        read_gencode(path)


def test_truncated_file_is_refused(references, tmp_path):
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(references[0].read_bytes()[:500])
    with pytest.raises(WcedError, match="cannot be read as GENCODE genes"):
        read_gencode(path)


def test_missing_hgnc_column_is_named(tmp_path):
    path = tmp_path / "hgnc.txt.gz"
    with gzip.open(path, "wt") as stream:
        stream.write("hgnc_id\tsymbol\n")
    with pytest.raises(WcedError, match="column locus_group is missing"):
        read_hgnc(path)
