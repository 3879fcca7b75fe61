import subprocess
import sys

import pytest

from wced import cli

COMMANDS = [
    "download", "gene-table", "source", "skipped", "census", "cells", "czi-dataset",
    "vocabulary", "shard", "shard-index",
    "pretrain", "finetune",
    "joinids", "leakage", "embed", "annotate", "attribute", "fit-corpus-pca", "embed-baseline", "embed-external",
    "concat",
    "neighbours", "score", "compare", "ablation", "gene-embeddings", "score-genes", "gather",
    "fetch", "gene-annotation", "learnability",
    "umap", "figures", "timings", "report",
    "throughput", "bench-selection", "bench-steps", "speedrun",
]  # fmt: skip
"""In the order in which data flows; a row for each room."""

HEAVY = {
    "anndata", "cellxgene_census", "czbenchmarks", "jax", "lightning", "matplotlib", "numba", "numpy", "pandas",
    "pyarrow", "scanpy", "scib_metrics", "scipy", "sklearn", "tiledbsoma", "torch", "transformers",
}  # fmt: skip


def wced(*arguments):
    return subprocess.run([sys.executable, "-m", "wced", *arguments], capture_output=True, text=True, check=False)


def test_help_lists_the_commands_in_flow_order():
    done = wced("--help")
    assert done.returncode == 0 and done.stderr == ""
    listed = done.stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "] == COMMANDS


def test_every_command_explains_itself():
    import typer

    commands = typer.main.get_command(cli.app).commands
    assert list(commands) == COMMANDS
    for name, command in commands.items():
        assert command.help, name
        assert [option.name for option in command.params if not getattr(option, "help", None)] == [], name


def test_help_imports_nothing_heavy():
    code = "import sys, wced.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in loaded and HEAVY & set(loaded) == set()


def test_bad_input_is_one_sentence(tmp_path):
    done = wced(
        "shard-index", str(tmp_path / "shard.arrow"), "--cells", str(tmp_path / "cells.parquet"),
        "--vocabulary", str(tmp_path / "vocabulary.tsv"), "--output", str(tmp_path / "index.json"),
    )  # fmt: skip
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
def test_a_bad_section_is_one_sentence(monkeypatch, capsys, tmp_path, section, message):
    arguments = ["--index", "i", "--section", section, "--name", "m", "--state", "s", "--output", str(tmp_path / "o")]
    monkeypatch.setattr(sys, "argv", ["wced", "pretrain", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("wced: ") and message in said and said.count("\n") == 1


def test_other_errors_are_not_hidden(monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main()
