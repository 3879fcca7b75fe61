from pathlib import Path

import pytest

from generated import write_generated_run

pytest.register_assert_rewrite("hard.running")

from hard.running import first_half  # noqa: E402


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """Make the first half of a generated run with no disturbance; return the config's path."""
    config = write_generated_run(tmp_path_factory.mktemp("undisturbed"), shards={"count": 4})
    first_half(config)
    return config
