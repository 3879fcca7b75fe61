"""The code blocks of the documents work. What needs a cluster, a network or hours is only parsed.

| block | its test |
|---|---|
| python, bash | runs in a folder like a checkout with a finished demo, page by page, in the order of the page |
| sh, indented, no language | commands of wced, snakemake and make are parsed: options and targets must exist |
| yaml | a part of a config must fit the config's schema |
| any with a file name after its language | is written to that file before anything of the page runs |
| text after python | is what the Python must print |
| diff | is applied to a copy of the package, which the commands of the page then run |
"""

import importlib
import io
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import jsonschema
import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from generated import B_CELL, MONOCYTE, NAMES, T_CELL, counts, genes, write_references
from planning import ROOT, environment, snakemake
from wced import tables
from wced.cli.commands import app
from wced.config import Run, json_schema

PAGES = {
    str(path.relative_to(ROOT)): path
    for path in [*sorted(ROOT.glob("docs/*.md")), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING"))]
}
LANGUAGES = {"python", "bash", "sh", "yaml", "diff", "json", "tsv", "text", "", "{toctree}"}
MODULES = {path.stem for path in (ROOT / "src/wced").iterdir()}
COMMANDS = {"wced", "snakemake", "make"}


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    language: str
    """First word after the fence; empty for an indented block."""
    file: str
    """Second word: the file that the block is; empty for none."""
    text: str
    line: int
    """First line on the page, from 1."""

    def commands(self) -> Iterator[str]:
        """Yield the commands of a shell's block without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = " ".join(shlex.split(line, comments=True, posix=False))
            if words:
                yield words


def tokens(page: str) -> list:
    return MarkdownIt("commonmark").enable("table").parse(PAGES[page].read_text())


def blocks(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page in these languages, or all of them."""
    fences = [token for token in tokens(page) if token.type in ("fence", "code_block")]
    parts = [(*token.info.strip().partition(" ")[::2], token) for token in fences]
    every = [Block(language, file, token.content, token.map[0] + 1) for language, file, token in parts]
    return [block for block in every if not languages or block.language in languages]


def parameters(*languages: str) -> list:
    """Return every block of these languages as a parameter of a test."""
    return [pytest.param(block, id=f"{page}:{block.line}") for page in PAGES for block in blocks(page, *languages)]


# Pages that are run. If the package is changed, every command needs a new process and a new training.
RUN = [
    pytest.param(page, marks=[pytest.mark.hard] if blocks(page, "diff") else [], id=page)
    for page in PAGES
    if blocks(page, "python", "bash")
]


def cells(n: int, seed: int) -> ad.AnnData:
    """Return cells of two donors: raw counts by Ensembl id, obs with their types by name and by term."""
    rng = np.random.default_rng(seed)
    terms = rng.choice([T_CELL, B_CELL, MONOCYTE], n)
    obs = pd.DataFrame({"cell_type_ontology_term_id": terms, "cell_type": [NAMES[term] for term in terms]})
    obs["donor"] = np.resize(["a", "b", "c", "d"], n)
    obs.index = [f"cell{i}" for i in range(n)]
    return ad.AnnData(counts(list(terms), np.zeros(n), rng), obs=obs, var=pd.DataFrame(index=genes()["gene_id"]))


def write_own_data(folder: Path) -> None:
    """Write the files of docs/own_data.md."""
    folder.mkdir()
    lung = cells(60, 0)
    lung.layers["counts"] = lung.X.copy()
    lung.X = lung.X.log1p()
    lung.var_names = genes()["symbol"]
    lung.write_h5ad(folder / "lung_a.h5ad")
    names = {T_CELL: "T cells", B_CELL: "B cells", MONOCYTE: "Monos"}
    for seed, donor in ((1, "d1"), (2, "d2")):
        blood = cells(60, seed)
        blood.obs = pd.DataFrame({"annotation": blood.obs["cell_type_ontology_term_id"].map(names)})
        blood.write_h5ad(folder / f"blood_{donor}.h5ad")
    other = cells(60, 3)
    other.obs["batch"] = np.resize(["1", "2"], 60)
    other.write_h5ad(folder / "lung_c.h5ad")


@pytest.fixture(scope="module")
def demo(made, tmp_path_factory) -> Path:
    """The folder results/demo of generated cells: corpus, shards, and a checkpoint trained for a moment."""
    from wced.cli.pretraining import pretrain

    folder = tmp_path_factory.mktemp("demo")
    (folder / "corpus/sources").mkdir(parents=True)
    (folder / "corpus/genes.parquet").symlink_to(made.genes)
    (folder / "corpus/cells.parquet").symlink_to(made.cells)
    (folder / "corpus/census").symlink_to(made.census)
    (folder / "corpus/sources/ts_lung.h5ad").symlink_to(made.held_out)
    (folder / "shards").symlink_to(made.shards)
    section = made.run.pretraining
    checkpoint = section.checkpoints["wced_multitask"].model_copy(update={"epochs": 2})
    section = section.model_copy(update={"checkpoints": {"wced_multitask": checkpoint}})
    pretrain(
        made.shards / "index.json", section.model_dump_json(), "wced_multitask", folder / "state",
        folder / "pretraining/wced_multitask",
    )  # fmt: skip
    return folder


class Checkout:
    """A folder like a checkout in which the demo was run, with the files and changes that a page shows."""

    def __init__(self, folder: Path, page: str, demo: Path) -> None:
        self.folder, self.page = folder, page
        self.namespace: dict[str, object] = {"__name__": "page"}
        self.environment = environment(PYTHONPATH=str(folder / "src"))
        for name in ("Snakefile", "workflow", "envs", "profiles", "Makefile", "docs", "tests"):
            (folder / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "config", folder / "config")
        default = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
        gencode, hgnc = write_references(folder)
        default["genes"] = {"gencode": {"path": str(gencode)}, "hgnc": {"path": str(hgnc)}}
        (folder / "config/demo.yaml").write_text(yaml.safe_dump(default))
        (folder / "results/demo").mkdir(parents=True)
        for part in demo.iterdir():
            (folder / "results/demo" / part.name).symlink_to(part)
        cells(120, 4).write_h5ad(folder / "my.h5ad")
        self.changed = bool(blocks(page, "diff"))
        if self.changed:
            shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            (folder / "src").symlink_to(ROOT / "src")
        for block in blocks(page):
            if block.file:
                (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
                (folder / block.file).write_text(block.text)
        for block in blocks(page, "diff"):
            self.process("git apply --unidiff-zero -", block.text)

    def run(self) -> None:
        """Run the page's blocks of Python and bash in their order."""
        shown = [block for block in blocks(self.page) if not block.file]
        for block, following in zip(shown, [*shown[1:], None], strict=True):
            if block.language == "python":
                output = self.python(block)
                if following is not None and following.language == "text":
                    assert output.splitlines() == following.text.splitlines()
            elif block.language == "bash":
                for command in block.commands():
                    self.command(command)

    def python(self, block: Block) -> str:
        """Run a block of Python, and return what it printed."""
        with redirect_stdout(io.StringIO()) as output:
            exec(compile(block.text, f"{self.page}:{block.line}", "exec"), self.namespace)
        return output.getvalue()

    def command(self, command: str) -> str:
        """Run a command, and return its output; `wced` in this process and plans in forks, without imports."""
        assigned = re.fullmatch(r"(\w+)=(\S+)", command)
        if assigned:
            self.environment[assigned[1]] = assigned[2]
            return ""
        if self.changed:
            return self.process(command)
        if command.startswith("snakemake ") and command.endswith(" --dry-run"):
            done = snakemake(*shlex.split(command)[1:], folder=self.folder)
            assert done.returncode == 0, done.stdout[-4000:]
            return done.stdout
        if not command.startswith("wced "):
            return self.process(command)
        words = shlex.split(re.sub(r"\$(\w+)", lambda name: self.environment[name[1]], command))
        return CliRunner().invoke(app, words[1:], catch_exceptions=False, standalone_mode=False).output

    def process(self, command: str, text: str | None = None) -> str:
        """Run a command of the shell with a text as its input, and return its output."""
        done = subprocess.run(
            ["bash", "-c", command], input=text, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{self.page}: {command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout + done.stderr


@pytest.mark.parametrize("page", RUN)
def test_a_page_runs(page, demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkout = Checkout(tmp_path, page, demo)
    if page == "docs/own_data.md":
        write_own_data(checkout.folder / "data")
    checkout.run()
    if page == "docs/own_data.md":
        check_own_data(checkout)


def check_own_data(checkout: Checkout) -> None:
    """Check what that page tells about the row of quality control, free names and several files."""
    row = tables.read(tables.SOURCES_QC, checkout.folder / "lung_a.qc.tsv").iloc[0]
    assert (row["cells"], row["cells_unlabelled"], row["genes_unmapped"]) == (60, 0, 0)
    text = PAGES[checkout.page].read_text()
    described = set(re.findall(r"`(\w+)`", text[text.index("| column |") : text.index("## 4.")]))
    assert set(tables.SOURCES_QC.names) - {"dataset", "files"} <= described
    source = next(c for block in blocks(checkout.page, "bash") for c in block.commands() if c.startswith("wced source"))
    checkout.command(source.replace("lung_a", "blood_b") + " --names own_names.tsv")
    row = tables.read(tables.SOURCES_QC, checkout.folder / "blood_b.qc.tsv").iloc[0]
    harmonised = ad.read_h5ad(checkout.folder / "blood_b.h5ad")
    assert (row["cells"], row["files"], row["cell_type_names_unmapped"]) == (120, 2, 1)
    assert row["cells_unlabelled"] == (harmonised.obs["cell_type"] == "unknown").sum() > 20
    assert harmonised.obs["donor_id"].value_counts().to_dict() == {"d1": 60, "d2": 60}
    shards = next(c for block in blocks(checkout.page, "sh") for c in block.commands() if "own/shards" in c)
    jobs = re.findall(r"^(source|shard|shard_index) +(\d+)$", checkout.command(f"{shards} --dry-run"), re.MULTILINE)
    assert dict(jobs) == {"source": "2", "shard": "4", "shard_index": "1"}


def parse(command: str) -> None:
    """Parse a command as its program would; fail if that would refuse it."""
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    program, *words = words
    if program == "make":
        targets = re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets), command
    elif program == "snakemake":
        from snakemake.cli import parse_args

        for i, before in enumerate(words[:-1], 1):
            if before == "--profile" and not (ROOT / words[i]).exists():
                words[i] = "slurm"  # the reader's, a copy of ours
        parse_args(words)
    else:
        group = typer.main.get_command(app)
        first = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
        context = group.make_context("wced", words[:first] or ["--debug"])
        if first < len(words):
            name, subcommand, rest = group.resolve_command(context, words[first:])
            subcommand.make_context(name, list(rest), parent=context, resilient_parsing="--help" in rest)


@pytest.mark.parametrize("block", parameters("sh", "bash", ""))
def test_commands_parse(block, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["snakemake"])
    for command in block.commands():
        if COMMANDS & set(command.split()[:2]):
            parse(command)


@pytest.mark.parametrize("block", parameters("yaml"))
def test_parts_of_a_config_fit_its_schema(block):
    def merged(base: object, part: object) -> object:
        if isinstance(base, dict) and isinstance(part, dict):
            return base | {key: merged(base.get(key), value) for key, value in part.items()}
        return part

    part = yaml.safe_load(block.text)
    if set(part) & set(Run.model_fields):  # others are of a profile or of another tool
        jsonschema.validate(merged(yaml.safe_load((ROOT / "config/demo.yaml").read_text()), part), json_schema())


@pytest.mark.parametrize("page", PAGES)
def test_blocks_have_a_tested_language(page):
    assert {block.language for block in blocks(page)} <= LANGUAGES


def code_in_text(page: str) -> set[str]:
    inline = [child for token in tokens(page) for child in token.children or [] if child.type == "code_inline"]
    return {" ".join(token.content.split()) for token in inline}


@pytest.mark.parametrize("page", PAGES)
def test_commands_files_and_functions_in_the_text_exist(page):
    known = set(typer.main.get_command(app).commands)
    for code in sorted(code_in_text(page)):
        if name := re.match(r"wced ([a-z][a-z-]+)", code):
            assert name[1] in known, code
        if re.fullmatch(r"make [a-z-]+", code):
            parse(code)
        if re.fullmatch(r"(src|workflow|tests|config|docs|envs|profiles)/[\w./+-]+", code):
            assert (ROOT / code).exists(), code
        # Other names that start like this are keys of the config or of a file.
        if (dotted := re.fullmatch(r"wced\.(\w+)(\.\w+)*", code)) and dotted[1] in MODULES:
            assert importable(code), code


def importable(name: str) -> bool:
    """Return whether a dotted name is a module, a name in one, or a field of a section."""
    if "." not in name:
        return name == "wced"
    with suppress(ModuleNotFoundError):
        importlib.import_module(name)
        return True
    outer, _, last = name.rpartition(".")
    if not importable(outer):
        return False
    owner = pkgutil.resolve_name(outer)
    return hasattr(owner, last) or last in getattr(owner, "model_fields", {})


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_to_files_and_headings(page):
    parsed = MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text())
    links = [
        child.attrs.get("href") or child.attrs.get("src")
        for token in parsed
        for child in token.children or []
        if child.type in ("link_open", "image")
    ]
    for link in links:
        if re.match(r"https?:", link):
            continue
        target, _, anchor = link.partition("#")
        path = ((ROOT / page).parent / target if target else ROOT / page).resolve()
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path), link


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_shows_the_commands_of_ci():
    shown = {command for block in blocks("README.md", "sh", "bash") for command in block.commands()}
    checked = {line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make ")}
    assert len(checked) >= 4 and checked <= shown
