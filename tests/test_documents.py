from pathlib import Path

import jsonschema
import pytest
import yaml

from tools.documents import documents
from wced.config import json_schema

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", documents(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_files_are_up_to_date(path):
    assert path.read_text() == documents(ROOT)[path], f"{path.relative_to(ROOT)} is out of date: make docs"


def test_schema_is_a_json_schema_that_forbids_unknown_keys():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    sections = [schema, *schema["$defs"].values()]
    assert len(sections) > 20 and all(part["additionalProperties"] is False for part in sections)


def test_every_key_has_a_description():
    sections = json_schema()["$defs"]
    for part in [json_schema(), *sections.values()]:
        assert part["description"], part["title"]
        for key, field in part["properties"].items():
            # A key with the description of its section is only a reference to it.
            assert field.get("description") or "$ref" in field, f"{part['title']}.{key}"


def test_conda_environment_has_the_packages_of_the_lock():
    environment = yaml.safe_load((ROOT / "envs/wced.yaml").read_text())
    lock = (ROOT / "envs/requirements.lock").read_text().splitlines()
    assert environment["dependencies"][-1]["pip"] == [line for line in lock if line and not line.startswith("#")]
