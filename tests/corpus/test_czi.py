import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from wced.cli import commands
from wced.corpus.czi import download_czi_dataset
from wced.errors import WcedError

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
