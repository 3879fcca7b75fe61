"""How Sphinx makes the site: `make site`. Sources are the Markdown pages as they stand and the package's docstrings."""

import re
from importlib.metadata import version as version_of

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.ext.napoleon import Config, NumpyDocstring

project = "wced"
version = release = version_of("wced")
html_title = f"wced {release}"
author = "the wced authors"
copyright = "the wced authors, Apache-2.0"

# The folder of sources is the checkout, so that links between README, config and docs hold on the site too.
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "config/README.md", "docs/**"]
exclude_patterns = [".*", "results", "site", "src", "tests", "workflow", "build"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.apidoc"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # Pygments knows no TSV
default_role = "code"

# One page per package, written to docs/api when the site is made.
apidoc_modules = [{"path": "../src/wced", "destination": "docs/api", "include_private": False}]
apidoc_module_first = True
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"

# Furo asks nobody for fonts, styles or scripts: the site opens from a disk without a network.
html_theme = "furo"
html_extra_path = ["_extra"]  # index.html, which leads to docs/index.html
html_math_renderer = "mathml"  # Sphinx's own takes a script from another machine
html_copy_source = False
html_show_sphinx = False


def _numpy_docstring(app, what, name, obj, options, lines):
    """Read docstrings in numpy's style; those of attributes are sentences, whose colon is no mark of a type."""
    if what not in ("attribute", "data", "property"):
        lines[:] = NumpyDocstring(list(lines), Config(napoleon_use_rtype=False)).lines()
    for i, line in enumerate(lines):
        # As in Markdown: a word may go on behind its code (`soma_joinid`s), and bars outside of code are bars.
        parts = re.split(r"(`[^`]*`)", line)
        parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
        lines[i] = re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", "".join(parts))


def _inline_math(writer, node):
    writer.body.append(tex2mathml(node.astext()))
    raise SkipNode


def _block_math(writer, node):
    writer.body.append(tex2mathml(node.astext(), as_block=True))
    raise SkipNode


def setup(app):
    """Connect what reads docstrings and writes formulas."""
    app.connect("autodoc-process-docstring", _numpy_docstring)
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
