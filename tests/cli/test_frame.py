import json
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from wced.cli.frame import Input, Option, Output, command, record
from wced.config.base import Section
from wced.errors import WcedError


class Cooking(Section):
    """A section of the config."""

    minutes: int = 3


@command
def boil_eggs(
    eggs: Annotated[list[Path], Input("Eggs.")],
    /,
    section: Cooking,
    output: Annotated[Path, Output("Plate.")],
    salt: Annotated[Path | None, Input("Salt, if any.", name="--with")] = None,
    seed: Annotated[int, Option("Seed.", min=0)] = 7,
    peeled: Annotated[bool, Option("Without shells.")] = False,
) -> None:
    """Boil eggs."""
    with record() as facts:
        facts["eggs"] = len(eggs)
        output.write_text(f"{section.minutes} {peeled}")


@command
def fry(
    egg: Annotated[Path, Input("Egg.")],
    output: Annotated[Path, Output("Plate.")],
    spoon: Annotated[Path, Output("Spoon.")],
    heat: Annotated[int, Option("Watts.")] = 900,
) -> None:
    """Fry an egg."""
    with record(inputs={"hen": egg, "cock": None}, outputs=[spoon, output]):
        output.write_text("egg")
        spoon.write_text("fat")


def invoke(function, *words):
    app = typer.Typer()
    app.command()(function)
    return CliRunner().invoke(app, [str(word) for word in words])


def read(path):
    return json.loads(path.with_name(f"{path.name}.provenance.json").read_text())


@pytest.fixture
def egg(tmp_path):
    (tmp_path / "egg").write_text("raw")
    return tmp_path / "egg"


def test_parameters_are_recorded(egg, tmp_path):
    output = tmp_path / "plate"
    done = invoke(boil_eggs, egg, egg, "--section", '{"minutes": 5}', "--output", output, "--peeled", "--with", egg)
    assert done.exit_code == 0 and output.read_text() == "5 True"
    made = read(output)
    assert (made["command"], made["section"], made["seed"], made["eggs"]) == ("boil-eggs", {"minutes": 5}, 7, 2)
    assert list(made["inputs"]) == ["0", "1", "salt"] and list(made["outputs"]) == [str(output)]


@pytest.mark.parametrize("kind", ["json", "file", "model"])
def test_a_section_is_json_a_file_or_a_model(egg, tmp_path, kind):
    (tmp_path / "cooking.yaml").write_text("minutes: 8\n")
    section = {"json": '{"minutes": 8}', "file": str(tmp_path / "cooking.yaml"), "model": Cooking(minutes=8)}[kind]
    boil_eggs([egg], section, tmp_path / "plate")
    assert (tmp_path / "plate").read_text() == "8 False" and list(read(tmp_path / "plate")["inputs"]) == ["0"]


def test_an_invalid_section_is_refused_before_anything_is_done(egg, tmp_path):
    with pytest.raises(WcedError, match="--section, minutes: Input should be a valid integer"):
        boil_eggs([egg], '{"minutes": "long"}', tmp_path / "plate")
    assert not (tmp_path / "plate").exists()


def test_a_command_may_replace_what_is_recorded(egg, tmp_path):
    fry(egg, tmp_path / "plate", tmp_path / "spoon")
    for path in (tmp_path / "plate", tmp_path / "spoon"):
        made = read(path)
        assert made["section"] == {"heat": 900} and made["seed"] is None and list(made["inputs"]) == ["hen"]
        assert list(made["outputs"]) == [str(tmp_path / "spoon"), str(tmp_path / "plate")]


def test_help_and_limits_are_those_of_the_parameters(egg, tmp_path):
    shown = invoke(boil_eggs, "--help").output
    assert "Boil eggs." in shown and "--with" in shown and "--no-peeled" not in shown
    words = (egg, "--section", "{}", "--output", tmp_path / "plate")
    assert [invoke(boil_eggs, *words, "--seed", seed).exit_code for seed in (0, -1)] == [0, 2]
