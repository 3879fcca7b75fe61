import hashlib
import http.server
import re
import threading

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from wced.cli import commands
from wced.corpus import download as room
from wced.corpus.download import Index, download, download_czi_dataset, parse_pip_config
from wced.errors import WcedError

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ARCHIVE = "thing==1.0:sdist"


class Server(http.server.ThreadingHTTPServer):
    """A package index with one archive, and faults that are switched on."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges, self.busy_once, self.cut_once, self.broken_once = True, False, False, False
        self.sent = []

    @property
    def index(self):
        return Index((f"http://127.0.0.1:{self.server_port}/simple",), timeout=5)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        if self.path == "/simple/thing/" and server.busy_once:
            server.busy_once = False
            self.answer(503)
        elif self.path == "/simple/thing/":
            # A Python that nobody has: an archive of data need not fit the Python that runs.
            links = "".join(
                f'<a href="/files/{name}" data-requires-python="&lt;3">{name}</a>'
                for name in ("thing-1.0.tar.gz", "thing-2.0.tar.gz", "thing-1.0-py3-none-any.whl")
            )
            self.answer(200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
        elif self.path == "/files/thing-1.0.tar.gz":
            if server.broken_once:
                server.broken_once = False
                return self.answer(503)
            first = 0
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if match and server.ranges:
                first = int(match[1])
                if first >= len(CONTENT):
                    return self.answer(416)
            body = CONTENT[first:]
            server.sent.append((first, len(body)))
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if server.cut_once:
                server.cut_once = False
                body = body[: len(body) // 2]
                self.close_connection = True
            self.wfile.write(body)
        else:
            self.answer(404)

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(room, "FIRST_PAUSE", 0.01)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "archives" / "thing-1.0.sdist"


def part(target):
    path = target.with_name(target.name + ".part")
    path.parent.mkdir(exist_ok=True)
    return path


@pytest.mark.parametrize(
    ("old", "ranges", "sent"),
    [
        (b"", True, [(0, len(CONTENT))]),
        (CONTENT[:1000], True, [(1000, len(CONTENT) - 1000)]),
        (CONTENT[:1000], False, [(0, len(CONTENT))]),
        (CONTENT, True, []),
        (b"other" * 10, True, [(50, len(CONTENT) - 50), (0, len(CONTENT))]),
        (CONTENT + b"more", True, [(0, len(CONTENT))]),
        (b"x" * len(CONTENT), True, [(0, len(CONTENT))]),
    ],
    ids=["nothing", "a part", "no ranges", "complete", "another file", "a longer one", "one as long"],
)
def test_what_was_there_is_continued_or_replaced(server, target, old, ranges, sent):
    server.ranges = ranges
    if old:
        part(target).write_bytes(old)
    download(ARCHIVE, DIGEST, target, server.index)
    assert target.read_bytes() == CONTENT and not part(target).exists()
    assert server.sent == sent


def test_broken_connection_is_resumed(server, target):
    server.cut_once = True
    download(ARCHIVE, DIGEST, target, server.index)
    assert target.read_bytes() == CONTENT
    assert [first > 0 for first, _ in server.sent] == [False, True]


def test_busy_server_is_asked_again(server, target):
    server.busy_once = server.broken_once = True
    download(ARCHIVE, DIGEST, target, server.index)
    assert target.read_bytes() == CONTENT


def test_wrong_hash_is_refused_and_removed(server, target):
    with pytest.raises(WcedError, match=f"{DIGEST}.*{'0' * 64}"):
        download(ARCHIVE, "0" * 64, target, server.index)
    assert not target.exists()
    assert not part(target).exists()


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        ("thing==9.9:sdist", "not found on the package index"),
        ("other==1.0:sdist", "not found on the package index"),
        ("thing==1.0:wheel", "the index answers 404"),
        ("thing-1.0", "not of the form"),
    ],
    ids=["version", "name", "gone", "malformed"],
)
def test_what_is_not_there(server, target, archive, words):
    with pytest.raises(WcedError, match=words):
        download(archive, DIGEST, target, server.index)


def test_unreachable_server(server, target, monkeypatch):
    index = server.index
    server.shutdown()
    server.server_close()
    monkeypatch.setattr(room, "ATTEMPTS", 2)
    with pytest.raises(WcedError, match="does not answer"):
        download(ARCHIVE, DIGEST, target, index)


def test_second_index_helps_when_the_first_is_unreachable(server, target):
    with Server() as gone:
        unreachable = gone.index.index_urls
    download(ARCHIVE, DIGEST, target, Index((*unreachable, *server.index.index_urls), timeout=5))
    assert target.read_bytes() == CONTENT


def test_folder_of_archives(target, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    (links / "thing-1.0.tar.gz").write_bytes(CONTENT)
    download(ARCHIVE, DIGEST, target, Index((), find_links=(str(links),)))
    assert target.read_bytes() == CONTENT


def test_no_index_at_all(target):
    with pytest.raises(WcedError, match="no index and no links"):
        download(ARCHIVE, DIGEST, target, Index(()))


def test_pip_config_precedence(tmp_path):
    lines = [
        ":env:.index-url='http://env/simple'",
        "global.index-url='http://global/simple'",
        "global.extra-index-url='http://one/simple\\nhttp://two/simple'",
        "install.trusted-host='one two:8080'",
        f"global.find-links='{tmp_path} /no/such/folder'",
        "global.cert='/some/ca.pem'",
        "freeze.timeout='1'",
    ]
    index = parse_pip_config("\n".join(lines))
    assert index.index_urls == ("http://env/simple", "http://one/simple", "http://two/simple")
    assert index.trusted_hosts == ("one", "two:8080")
    assert index.find_links == (str(tmp_path),)
    assert (index.cert, index.timeout) == ("/some/ca.pem", 60.0)


def test_pip_config_defaults():
    from pip._internal.models.index import PyPI

    assert parse_pip_config("").index_urls == (PyPI.simple_url,)
    assert parse_pip_config("global.no-index='true'").index_urls == ()


BUCKET = "cz-benchmarks-data"
TISSUES = ("blood", "bone_marrow", "lung", "mammary", "thymus")
"""Of the paper's five tables."""


@pytest.fixture
def store(monkeypatch):
    """A bucket of the name of cz-benchmarks', in this process."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture(scope="module")
def keys():
    from czbenchmarks.datasets.utils import list_available_datasets

    return {name: dataset["url"].removeprefix(f"s3://{BUCKET}/") for name, dataset in list_available_datasets().items()}


def test_a_dataset_is_downloaded_by_its_name_and_nothing_else_is_left(store, keys, tmp_path):
    store.put_object(Bucket=BUCKET, Key=keys["tsv2_lung"], Body=b"an h5ad file")
    done = CliRunner().invoke(
        commands.app, ["czi-dataset", "tsv2_lung", "--output", str(tmp_path / "lung.h5ad")], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert (tmp_path / "lung.h5ad").read_bytes() == b"an h5ad file"
    assert {path.name for path in tmp_path.iterdir()} == {"lung.h5ad", "lung.h5ad.provenance.json"}


def test_the_tissues_of_the_paper_have_names(keys):
    assert {f"tsv2_{tissue}" for tissue in TISSUES} <= set(keys)


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(WcedError, match=r"tsv2_brain: cz-benchmarks has no such dataset; it has .*tsv2_lung"):
        download_czi_dataset("tsv2_brain", tmp_path / "x.h5ad")


def test_a_file_that_is_not_there_is_one_sentence_and_leaves_nothing(store, tmp_path):
    with pytest.raises(WcedError, match=r"tsv2_blood: s3://cz-benchmarks-data/.* can not be downloaded: .*404"):
        download_czi_dataset("tsv2_blood", tmp_path / "x.h5ad")
    assert not list(tmp_path.iterdir())
