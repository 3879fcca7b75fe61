import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from wced.cli import commands as cli
from wced.cli.commands import sentence
from wced.errors import WcedError

COMMANDS = [
    "download", "gene-table", "source", "skipped", "census", "cells", "czi-dataset",
    "vocabulary", "shard", "shard-index",
    "pretrain", "finetune",
    "joinids", "leakage", "embed", "annotate", "attribute", "fit-corpus-pca", "embed-baseline", "embed-external",
    "concat",
    "neighbours", "score", "compare", "ablation", "gene-embeddings", "score-genes", "gather",
    "fetch", "gene-annotation", "learnability",
    "umap", "figures", "timings", "report",
    "provenance", "doctor",
]  # fmt: skip
"""In the order in which data flows; a row for each room."""

HEAVY = {
    "anndata", "cellxgene_census", "czbenchmarks", "jax", "lightning", "matplotlib", "numba", "numpy", "pandas",
    "pyarrow", "scanpy", "scib_metrics", "scipy", "sklearn", "tiledbsoma", "torch", "transformers",
}  # fmt: skip


def test_help_lists_the_commands_in_flow_order(wced):
    code, text, error = wced("--help")
    assert code == 0 and error == ""
    listed = text.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "] == COMMANDS


def test_every_command_and_option_has_a_help_text():
    commands = typer.main.get_command(cli.app).commands
    assert list(commands) == COMMANDS
    for name, command in commands.items():
        assert command.help, name
        assert [option.name for option in command.params if not getattr(option, "help", None)] == [], name


def test_help_imports_nothing_heavy():
    code = "import sys, wced.cli.commands; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in loaded and HEAVY & set(loaded) == set()


def test_bad_input_is_one_sentence(tmp_path):
    words = ["shard-index", tmp_path / "shard.arrow", "--cells", tmp_path / "cells.parquet"]
    words += ["--vocabulary", tmp_path / "vocabulary.tsv", "--output", tmp_path / "index.json"]
    done = subprocess.run([sys.executable, "-m", "wced", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"wced: {tmp_path / 'vocabulary.tsv'}: no such file; expected a vocabulary\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{", "--section is not JSON"),
        ('{"checkpoints": {}, "speed": 1}', "--section, speed: Extra inputs are not permitted"),
        ('{"checkpoints": {}}', "no checkpoint m"),
    ],
    ids=["no_json", "unknown_key", "no_checkpoint"],
)
def test_a_bad_section_is_one_sentence(wced, tmp_path, section, message):
    words = ["--index", "i", "--section", section, "--name", "m", "--state", "s", "--output", tmp_path / "o"]
    code, _, error = wced("pretrain", *words)
    assert code == 1 and error.startswith("wced: ") and message in error and error.count("\n") == 1


def run(monkeypatch, error, *options):
    """Run a `wced` whose command fails with an error; return what `main` raises."""
    monkeypatch.setattr(cli, "app", typer.Typer(callback=cli._options, pretty_exceptions_enable=False))

    @cli.app.command()
    def fail():
        raise error

    @cli.app.command()
    def other():
        pass

    monkeypatch.setattr(sys, "argv", ["wced", *options, "fail"])
    with pytest.raises((SystemExit, type(error))) as end:
        cli.main()
    return end.value


def test_an_unexpected_error_is_a_sentence_with_how_to_see_more(monkeypatch, capsys):
    assert run(monkeypatch, ZeroDivisionError("by\nnothing")).code == 1
    message = capsys.readouterr().err
    assert message.startswith("wced: unexpected ZeroDivisionError") and message.count("\n") == 1
    assert "by nothing" in message and "wced --debug" in message


@pytest.mark.parametrize("error", [WcedError("cells.parquet: bad"), ZeroDivisionError("x")], ids=["bad_input", "bug"])
@pytest.mark.parametrize(("options", "variable"), [(["--debug"], ""), ([], "1")], ids=["option", "environment"])
def test_debug_shows_the_traceback(monkeypatch, capsys, error, options, variable):
    monkeypatch.setenv("WCED_DEBUG", variable)
    assert run(monkeypatch, error, *options) is error
    assert capsys.readouterr().err == ""


def test_debug_is_off_again_for_the_next_command(monkeypatch, capsys):
    run(monkeypatch, WcedError("bad"), "--debug")
    assert run(monkeypatch, WcedError("bad")).code == 1


def test_a_wrong_option_is_a_usage_error(wced):
    code, _, error = wced("shard", "--speed", "1")
    assert code == 2 and "--speed" in error


class OutOfMemoryError(RuntimeError):  # the name of torch's
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WcedError("cells.parquet: no\ncolumn"), "cells.parquet: no column"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.tsv"), "a.tsv: No space left on device; free some space"),
        (OSError("h5py (errno = 28, error message = 'No space left on device')"), "free some space"),
        (RuntimeError("TileDB: Cannot write; No space left on device"), "free some space"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "r"), "r: Read-only file system; write elsewhere"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "r"), "r: Permission denied; check who owns it"),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "r/i"), "r/i: No such file or directory; it has"),
        (MemoryError(), "out of memory; take more memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory (CUDA out of memory. Tried"),
    ],
    ids=["own", "full", "full_h5py", "full_tiledb", "read_only", "not_allowed", "vanished", "memory", "gpu_memory"],
)
def test_a_known_error_is_a_sentence_with_what_to_do(error, expected):
    message = sentence(error)
    assert expected in message and "\n" not in message and "unexpected" not in message


def test_a_failed_allocation_of_numpy_is_a_known_error():
    with pytest.raises(MemoryError) as raised:
        np.empty(2**56, dtype="u1")
    assert sentence(raised.value).startswith("out of memory (Unable to allocate")


def test_the_sentence_is_that_of_the_cause():
    error = ValueError("while writing key X")
    error.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.h5ad")
    assert sentence(error).startswith("x.h5ad: No space left on device")


def test_an_unexpected_error_names_the_line_of_the_package():
    from wced.files import sha256

    with pytest.raises(TypeError) as raised:
        sha256(3)
    message = sentence(raised.value)
    assert message.startswith("unexpected TypeError in wced/files.py, line ") and "wced --debug" in message
    assert len(sentence(ValueError("x" * 10_000))) < 1_000


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(shell):
    program = Path(sys.executable).with_name("wced")

    def output(*arguments, **environment):
        return subprocess.run(
            [program, *arguments], env=os.environ | environment, capture_output=True, text=True, check=True
        ).stdout

    def completed(words):
        position = str(len(words.split()) - 1)
        return output(
            _WCED_COMPLETE=f"complete_{shell}", COMP_WORDS=words, COMP_CWORD=position, _TYPER_COMPLETE_ARGS=words,
            _TYPER_COMPLETE_FISH_ACTION="get-args",
        )  # fmt: skip

    # The shell is an argument, so that typer does not detect it.
    script = output("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert f"_WCED_COMPLETE=complete_{shell}" in script
    assert "shard-index" in completed("wced shard") and "pretrain" not in completed("wced shard")
    assert "--vocabulary" in completed("wced shard --voc")
