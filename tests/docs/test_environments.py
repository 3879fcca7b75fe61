"""The environments of pip, conda and modules come from one lock."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tools.documents import PYTHON, environment_module

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = ROOT / "envs/requirements.lock"
MODULE = ROOT / "envs/modules/wced" / PROJECT["version"]
CONDA = ROOT / "envs/wced.yaml"


def pin(text: str) -> str:
    """Return the one version of torch that a file pins."""
    (version,) = set(re.findall(r"\btorch(?:==| )([\d.]+\d)", text))
    return version


def test_the_same_python_everywhere():
    dependencies = yaml.safe_load(CONDA.read_text())["dependencies"]
    assert f"python={PYTHON}" in dependencies
    assert PROJECT["requires-python"] == f">={PYTHON}"
    assert f"Python {PYTHON} or newer" in MODULE.read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert f"--python-version {PYTHON} envs/requirements.in" in makefile
    assert f"sys.version_info < ({PYTHON.replace('.', ', ')})" in makefile


def test_the_same_torch_everywhere():
    files = [LOCK, CONDA, MODULE, ROOT / "envs/requirements.in"]
    assert len({pin(path.read_text()) for path in files}) == 1


def test_pip_and_the_module_use_the_lock():
    assert "-r envs/requirements.lock" in (ROOT / "Makefile").read_text()
    text = MODULE.read_text()
    assert hashlib.sha256(LOCK.read_bytes()).hexdigest() in text
    assert "prepend-path PATH [file join $root .venv bin]" in text
    up = re.search(r"ModulesCurrentModulefile\]((?: \.\.)+)\]", text)[1].split()
    assert MODULE.parents[len(up)] == ROOT


def test_there_is_one_module_of_this_version():
    assert [path.name for path in MODULE.parent.iterdir()] == [PROJECT["version"]]


def test_another_lock_gives_another_module():
    lock = LOCK.read_text()
    other = lock.replace(f"torch=={pin(lock)}", "torch==9.9.9")
    assert "torch 9.9.9" in environment_module(other, "1") != environment_module(lock, "1")


@pytest.mark.parametrize("rules", sorted(ROOT.glob("workflow/rules/*.smk")), ids=lambda path: path.stem)
def test_every_rule_names_the_conda_environment(rules):
    text = rules.read_text()
    assert len(re.findall(r"^ *rule \w+:", text, re.MULTILINE)) == text.count('"../../envs/wced.yaml"')
