import pytest

pytest.register_assert_rewrite("slurm.cluster", "slurm.running")

from slurm.cluster import cluster as running_cluster  # noqa: E402


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A Slurm cluster of this machine, in a folder of its own, for as long as the tests last."""
    folder = tmp_path_factory.mktemp("cluster")
    with running_cluster(folder):
        yield folder
