import hashlib
import zipfile

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from wced.config.annotation import Annotation, Reference
from wced.errors import WcedError
from wced.genes.annotation import references
from wced.genes.names import gene_names


@pytest.fixture
def remote(tmp_path):
    """A file at an address, with its SHA-256."""
    path = tmp_path / "remote" / "HK_genes.txt"
    path.parent.mkdir()
    path.write_text("AAAS \tNM_1\n\n# no gene\nACTB\tNM_2\nAAAS\tNM_3\n")
    return path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_fetched_file_opens_and_reads(remote, tmp_path):
    reference = Reference(url=remote[0], sha256=remote[1])
    target = references.local_file(reference, tmp_path / "archives")
    assert target == str(tmp_path / "archives" / f"{remote[1][:12]}-HK_genes.txt")
    references.fetch(*remote, target)
    with references.opened(reference, tmp_path / "archives") as path:
        assert references.read_list(path, "a list").tolist() == ["AAAS", "ACTB"]
    assert references.version(reference) == "HK_genes.txt"
    assert references.version(Reference(path=str(tmp_path / "a.txt"))) == "a.txt"
    assert references.version(Annotation().go_graph) == "go3==0.3.0 go-basic.obo"


def test_a_zipped_file_opens(tmp_path):
    with zipfile.ZipFile(tmp_path / "proteinatlas.tsv.zip", "w") as archive:
        archive.writestr("proteinatlas.tsv", "A\n")
    reference = Reference(path=str(tmp_path / "proteinatlas.tsv.zip"), member="proteinatlas.tsv")
    with references.opened(reference, tmp_path) as path:
        assert path.read_text() == "A\n"


def test_another_file_is_refused_and_not_kept(remote, tmp_path):
    target = tmp_path / "archives" / "x"
    with pytest.raises(WcedError, match="but 0000 was asked for"):
        references.fetch(remote[0], "0000", target)
    with pytest.raises(WcedError, match="download failed"):
        references.fetch(remote[0] + "x", remote[1], target)
    assert not list(target.parent.iterdir())


def test_empty_lists_and_changed_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("# only this\n")
    with pytest.raises(WcedError, match="is empty; expected a list"):
        references.read_list(tmp_path / "a.txt", "a list")
    reference = Reference(path=str(tmp_path / "a.txt"), sha256="0" * 64)
    with pytest.raises(WcedError, match="has sha256"), references.opened(reference, tmp_path):
        pass


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param({}, "exactly one of", id="none"),
        pytest.param({"path": "a", "url": "b", "sha256": "c"}, "exactly one of", id="two"),
        pytest.param({"url": "b"}, "needs sha256", id="no hash"),
        pytest.param({"archive": "a==1:wheel", "sha256": "c"}, "needs member", id="no member"),
    ],
)
def test_a_reference_says_where_and_what(keys, words):
    with pytest.raises(ValidationError, match=words):
        Reference(**keys)


def test_jaspar_is_not_needed_with_tfclass():
    assert "jaspar" in Annotation().references
    assert {"jaspar", "housekeeping"}.isdisjoint(Annotation(tfclass={"path": "x"}).references)
    assert list(Annotation(tfclass={"path": "x"}).references)[2] == "tfclass"


def test_ids_and_old_symbols_resolve():
    rows = [("ENSG00000000001", "NEW", "NEW", ["OLD"], []), ("ENSG00000000002", "OTHER", "OTHER", [], ["NICK"])]
    columns = ["gene_id", "symbol", "hgnc_symbol", "previous_symbols", "alias_symbols"]
    table = pd.DataFrame(rows, columns=columns)
    words = np.array(["OLD", "NICK", "ENSG00000000002.7", "ENSG00000000009", "LOC1"], dtype=object)
    expected = ["ENSG00000000001", "ENSG00000000002", "ENSG00000000002", "ENSG00000000009", ""]
    assert references.gene_ids(words, gene_names(table)).tolist() == expected
