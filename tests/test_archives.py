import hashlib
import io
import tarfile
import zipfile

import pytest

from wced.archives import archive_file, extract, local_files, opened, opened_files
from wced.config.corpus import ArchiveMember
from wced.errors import WcedError
from wced.files import sha256

CONTENT = b"counts" * 1000


def make_sdist(path, **entries):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(f"thing-1.0/{name}")
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content or b""))
    return path


def make_wheel(path, **entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


of_both_kinds = pytest.mark.parametrize("make", [make_sdist, make_wheel], ids=["sdist", "wheel"])


@of_both_kinds
def test_one_member_comes_out_alone(tmp_path, make):
    archive = make(tmp_path / "a", **{"setup.py": b"raise SystemExit(1)", "data/x.h5ad": CONTENT})
    extract(archive, {"data/x.h5ad": tmp_path / "out" / "x.h5ad"})
    assert (tmp_path / "out" / "x.h5ad").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.h5ad"]


@of_both_kinds
@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("nothing", "has no member nothing"),
        ("../x", "points out of the archive"),
        ("a/../../x", "points out of the archive"),
        ("/etc/passwd", "points out of the archive"),
        ("", "points out of the archive"),
    ],
    ids=["missing", "parent", "hidden parent", "absolute", "empty"],
)
def test_member_that_is_not_inside(tmp_path, make, member, words):
    archive = make(tmp_path / "a", x=CONTENT)
    with pytest.raises(WcedError, match=words):
        extract(archive, {member: tmp_path / "out"})
    assert not (tmp_path / "out").exists()


def test_link_is_no_member(tmp_path):
    archive = make_sdist(tmp_path / "a", x=None)
    with pytest.raises(WcedError, match="not a plain file"):
        extract(archive, {"x": tmp_path / "out"})


@of_both_kinds
def test_truncated_archive(tmp_path, make):
    whole = make(tmp_path / "a", x=bytes(range(256)) * 4000)
    cut = tmp_path / "cut"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(WcedError, match="cannot be read as a wheel or an sdist"):
        extract(cut, {"x": tmp_path / "out"})
    assert not (tmp_path / "out").exists()


def test_archive_names():
    assert archive_file("popv==0.4.1:sdist") == "popv-0.4.1.sdist"
    member = ArchiveMember(archive="a==1:wheel", sha256="0", member="m")
    assert local_files(member, "results/archives") == ["results/archives/a-1.wheel"]
    several = ArchiveMember(path="my.h5ad; b=/x/other.h5ad")
    assert local_files(several, "results/archives") == ["my.h5ad", "/x/other.h5ad"]


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("data/x.h5ad", {"x": "data/x.h5ad"}),
        ("data/v1/m;data/v2/n.h5", {"m": "data/v1/m", "n": "data/v2/n.h5"}),
        ("a=data/m; b-2=/k=5/m", {"a": "data/m", "b-2": "/k=5/m"}),
        ("/k=5/my cells.h5ad", {"my cells": "/k=5/my cells.h5ad"}),
    ],
    ids=["one", "stems", "names", "equals sign in a folder"],
)
def test_names_of_files(text, files):
    assert ArchiveMember(path=text).files() == files
    assert ArchiveMember(archive="a==1:sdist", sha256="0", member=text).files() == files


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either a path or an archive"),
        ({"path": "a", "archive": "a==1:sdist", "sha256": "0", "member": "m"}, "either a path or an archive"),
        ({"archive": "a==1:sdist", "member": "m"}, "needs sha256 and member"),
        ({"path": "x/m.h5ad;y/m.h5ad"}, "two files are named 'm'"),
        ({"path": "x/m.h5ad;"}, "a path is empty"),
        ({"path": "x;y", "sha256": "0"}, "sha256 is of one file"),
    ],
    ids=["nothing", "both", "no hash", "one name twice", "empty", "hash of two"],
)
def test_member_that_makes_no_sense(fields, words):
    with pytest.raises(ValueError, match=words):
        ArchiveMember(**fields)


@of_both_kinds
def test_several_members_and_folders_in_one_pass(tmp_path, make):
    archive = make(tmp_path / "a", **{"d/one/m.mtx": b"1", "d/one/g.tsv": b"g", "d/one/h/i": b"i", "e/x.h5": b"2"})
    member = ArchiveMember(archive="a==1:sdist", sha256="0", member="d/one;second=e/x.h5")
    with opened_files(member, [archive]) as files:
        assert list(files) == ["one", "second"]
        contents = {path.name: path.read_bytes() for path in files["one"].iterdir() if path.is_file()}
        assert contents == {"m.mtx": b"1", "g.tsv": b"g"}
        assert (files["one"] / "h" / "i").read_bytes() == b"i"
        assert files["second"].name == "x.h5" and files["second"].read_bytes() == b"2"


def test_member_of_an_archive_on_disk(tmp_path):
    archive = make_wheel(tmp_path / "a.zip", **{"x.h5ad": CONTENT})
    member = ArchiveMember(path=str(archive), member="x.h5ad", sha256=sha256(archive))
    assert local_files(member, "nowhere") == [str(archive)]
    with opened_files(member, [archive]) as files:
        assert files["x"].read_bytes() == CONTENT


def test_opened_gives_the_member_for_a_while(tmp_path):
    archive = make_sdist(tmp_path / "a", **{"data/x.h5ad": CONTENT})
    with opened(ArchiveMember(archive="a==1:sdist", sha256="0", member="data/x.h5ad"), archive) as path:
        assert path.read_bytes() == CONTENT
    assert not path.exists()


def test_opened_checks_the_hash_of_a_plain_file(tmp_path):
    path = tmp_path / "x.h5ad"
    path.write_bytes(CONTENT)
    with opened(ArchiveMember(path=str(path), sha256=sha256(path)), path) as same:
        assert same == path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("x.h5ad", f"has sha256 {hashlib.sha256(CONTENT).hexdigest()}.*{'0' * 64}"),
        (".", "a folder has no sha256"),
        ("a;b", "one file is needed, not 2"),
    ],
    ids=["another hash", "folder", "two files"],
)
def test_what_is_not_the_one_file(tmp_path, monkeypatch, path, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.h5ad").write_bytes(CONTENT)
    member = ArchiveMember(path=path, sha256=None if ";" in path else "0" * 64)
    with pytest.raises(WcedError, match=words), opened(member, path):
        pass
