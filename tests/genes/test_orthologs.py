import pytest

from wced.errors import WcedError
from wced.genes.orthologs import read_orthologs

HEAD = "Gene stable ID,Gene name,Human gene name,Human gene stable ID,Human homology type,Score\n"
M, H = (tuple(f"{prefix}{i:011d}" for i in range(6)) for prefix in ("ENSMUSG", "ENSG"))
ROWS = [
    (M[0], "Cd3d", H[0], "ortholog_one2one"),
    (M[1], "Lyz1", H[1], "ortholog_one2many"),
    (M[2], "Lyz2", H[1], "ortholog_one2many"),
    (M[3], "Gm1", "", ""),
    (M[4], "Dup", H[4], "ortholog_one2one"),
    (M[5], "Dup", H[5], "ortholog_one2one"),
]


def written(path, rows=ROWS, head=HEAD):
    path = path / "homologs.csv"
    path.write_text(head + "".join(f"{gene},{symbol},x,{human},{kind},1\n" for gene, symbol, human, kind in rows))
    return path


def test_only_one_to_one_pairs_map_and_all_genes_are_known(tmp_path):
    orthologs = read_orthologs(written(tmp_path))
    ids, known = orthologs.ids_of([*M, f"{M[0]}.3", "ENSMUSG99999999999"], "ensembl")
    assert ids.tolist() == [H[0], "", "", "", H[4], H[5], H[0], ""]
    assert known.tolist() == [True] * 7 + [False]
    # Symbols of two genes map to none.
    ids, known = orthologs.ids_of(["Cd3d", "Lyz1", "Gm1", "Dup", "CD3D"], "symbol")
    assert ids.tolist() == [H[0], "", "", "", ""]
    assert known.tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        ([*ROWS, (M[3], "Gm1", H[0], "ortholog_one2one")], HEAD, f"{H[0]} is ortholog_one2one with two genes"),
        ([*ROWS, (M[0], "Cd3d", H[3], "ortholog_one2one")], HEAD, f"{M[0]} is ortholog_one2one with two genes"),
        (ROWS, HEAD.replace("homology type", "kind"), "column Human homology type is missing"),
    ],
    ids=["human twice", "mouse twice", "column"],
)
def test_other_tables_are_refused(tmp_path, rows, head, message):
    with pytest.raises(WcedError, match=message):
        read_orthologs(written(tmp_path, rows, head))
