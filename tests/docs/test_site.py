"""The site has every page and docstring, without a warning, and loads nothing from another machine."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""Attributes whose address a browser loads by itself, unlike those of `a`."""

pytestmark = pytest.mark.hard


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Make the site from a copy of the pages, because Sphinx writes files beside them."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("docs", "config"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("api"))
    for path in ROOT.iterdir():
        if path.suffix == ".md":
            shutil.copy(path, checkout)
        elif path.name not in ("docs", "config", "site", "results", ".git", ".venv"):
            (checkout / path.name).symlink_to(path)
    options = ["--quiet", "--fail-on-warning", "--keep-going", "-c", "docs", ".", "site"]
    command = [sys.executable, "-m", "sphinx", *options]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout / "site"


class Addresses(HTMLParser):
    """Collects the addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        address = attributes.get(LOADING.get(tag))
        if address and attributes.get("rel") not in ("next", "prev", "canonical"):
            self.loaded.append(address)


def test_no_page_loads_from_another_machine(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    addresses = Addresses()
    for page in pages:
        addresses.feed(page.read_text())
    assert len(addresses.loaded) > len(pages)
    assert not [address for address in addresses.loaded if re.match(r"(\w+:)?//", address)]
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text()), sheet.name


def test_every_page_exists_and_the_first_one_leads_to_them(site):
    assert (site / "docs" / re.search(r"url=docs/(\S+)\"", (site / "index.html").read_text())[1]).exists()
    for page in [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config/README.md"]:
        assert (site / page.relative_to(ROOT).with_suffix(".html")).exists()


def test_docstrings_are_in_the_reference(site):
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    functions, modules = set(inventory.data["py:function"]), set(inventory.data["py:module"])
    assert {"wced.tl.embed", "wced.embedding.baselines.hvg.hvg", "wced.objectives.term.weighted_mean"} <= functions
    files = [path.relative_to(ROOT / "src").with_suffix("") for path in (ROOT / "src/wced").rglob("*.py")]
    written = {".".join(path.parts).removesuffix(".__init__") for path in files} - {"wced.__main__"}
    assert written <= modules
    page = (site / "docs/api/wced.html").read_text()
    assert "Raw counts of human cells" in page and "Raises" in page
