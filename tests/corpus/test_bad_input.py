"""Everything that can be wrong with a user's file: one sentence, exit status 1, nothing written and nothing changed."""

import json
import re
import sys
from functools import cache
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from generated import CD4, genes
from wced import cli
from wced import genes as gene_library

N, IDS = 60, genes()["gene_id"].tolist()[:40]
COUNTS = np.random.default_rng(0).poisson(1.0, (N, len(IDS))).astype(np.float32)
COUNTS[:, 0] += 1
LOG = np.log1p(COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
SAYS_LOG = r"X holds log-normalised values \(expm1 of each cell adds up to 10000\)"


def good():
    obs = pd.DataFrame({"term": CD4, "cell_ontology_class": "T cell"}, index=[f"c{i}" for i in range(N)])
    return ad.AnnData(sparse.csr_matrix(COUNTS), obs=obs, var=pd.DataFrame(index=IDS))


def with_counts(matrix, layers=None, raw=False):
    """Return a maker of files with another X, and counts in layers or raw."""

    def make(path):
        adata = good()
        if raw:
            adata.raw = adata.copy()
        adata.X = sparse.csr_matrix(matrix)
        for name in layers or ():
            adata.layers[name] = sparse.csr_matrix(COUNTS)
        adata.write_h5ad(path)

    return make


def with_value(value, dtype=np.float32):
    matrix = COUNTS.astype(dtype)
    matrix[2, 1] = value
    return with_counts(matrix)


def changed(change):
    """Return a maker of files that are changed as AnnData before they are written."""

    def make(path):
        adata = good()
        other = change(adata)
        (adata if other is None else other).write_h5ad(path)

    return make


unchanged = changed(lambda adata: None)


def edited(edit):
    """Return a maker of files whose HDF5 content is changed after they were written."""

    def make(path):
        good().write_h5ad(path, compression="gzip")
        with h5py.File(path, "a") as file:
            edit(file)

    return make


def foreign(*groups):
    def make(path):
        with h5py.File(path, "w") as file:
            for name in groups:
                file.create_group(name)

    return make


def truncated(path):
    good().write_h5ad(path)
    path.write_bytes(path.read_bytes()[:-3000])


def spoilt(path):
    """A file whose compressed counts are damaged, so that it opens."""
    good().write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["X/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)


def fewer_rows(file):
    file["X"].attrs["shape"] = (N - 1, len(IDS))
    del file["X/indptr"]
    file["X/indptr"] = sparse.csr_matrix(COUNTS[:-1]).indptr


def unknown_symbols(adata):
    adata.var_names = [f"gene{i}" for i in range(len(IDS))]


def one_name(adata):
    adata.obs_names = ["a", *["b"] * (N - 1)]


def three_wrong_terms(adata):
    adata.obs["term"] = ["CL:0000000x"] * 3 + [CD4] * (N - 3)


def one_genes_counts_too_large(adata):
    adata.X = sparse.csr_matrix(np.full((N, len(IDS)), 2.0**23 + 1))
    adata.var_names = [f"{IDS[0]}.{i}" for i in range(len(IDS))]


CASES = {
    "fraction": (with_value(0.5), {}, "x.h5ad, X: the count of gene ENSG00000100008 in cell c2 is 0.5, which is not a "
                 "whole number; X holds whole numbers but for 0.1% of them; no other matrix of the file looks raw"),
    "log-normalised, counts in a layer": (with_counts(LOG, ["counts"]), {}, f"which is not a whole number; {SAYS_LOG}; "
                                          "layers/counts looks raw: set counts to layers/counts"),
    "log-normalised, counts in raw": (with_counts(LOG, raw=True), {}, f"{SAYS_LOG}; raw looks raw: set counts to raw"),
    "log-normalised, no counts": (with_counts(LOG), {}, f"{SAYS_LOG}; no other matrix of the file looks raw"),
    "scaled": (with_counts(COUNTS - COUNTS.mean(axis=0)), {}, "is negative; X holds negative values, as scaled data"),
    "negative": (with_value(-1), {}, "in cell c2 is -1, which is negative"),
    "nan": (with_value(np.nan), {}, "in cell c2 is nan, which is not a finite number"),
    "infinite": (with_value(np.inf), {}, "in cell c2 is inf, which is not a finite number"),
    "integer overflow": (with_value(2**40, np.int64), {}, r"in cell c2 is 1.09951e\+12, which is larger than 16777216"),
    "sum overflow": (changed(one_genes_counts_too_large), {}, "counts of gene ENSG00000100001, added up over its"),
    "no such layer": (with_counts(LOG, ["raw_counts"]), {"counts": "layers/counts"}, "has no layers/counts, where "
                      "counts were expected; layers/raw_counts looks raw: set counts to layers/raw_counts"),
    "no X": (changed(lambda adata: ad.AnnData(obs=adata.obs, var=adata.var, layers={"counts": adata.X})), {},
             "has no X, where counts were expected; layers/counts looks raw"),
    "symbols that nobody knows": (changed(unknown_symbols), {"gene_id_kind": "symbol"},
                                  "only 0.0% of its 40 genes are in the gene table as symbol names .*not in it are "
                                  "gene0, gene1, gene2, gene3, gene4$"),
    "wrong kind of gene names": (unchanged, {"gene_id_kind": "symbol"}, r"only 0.0% of its 40 genes .* not in it are "
                                 r"ENSG\d+, .* as ensembl names 100.0% would be: set gene_id_kind"),
    "no such gene column": (unchanged, {"gene_ids": "ensembl"}, "gene_ids: var has no column ensembl; its columns are "
                            "none"),
    "primary data that is neither": (unchanged, {"is_primary_data": "obs.term"},
                                     "is_primary_data: 'CL:0000624' is neither True nor False"),
    "no such column": (unchanged, {"cell_type": "obs.cell_type"}, "dataset x, cell_type: there is no "
                       "column obs.cell_type; alike are cell_ontology_class"),
    "unknown term": (changed(three_wrong_terms), {},
                     r"dataset x, cell_type: 'CL:0000000x' \(3 of 60 cells\) is no term or name of CL; rename it in "
                     r"column cell_type of its row, as obs.term\|FROM=TO or, for free names, set cell_type_kind"),
    "unknown constant": (unchanged, {"tissue": "lungs"}, r"tissue: 'lungs' \(60 of 60 cells\) is no "
                         "term or name of UBERON or CL or CVCL; give an id or a name of the ontology in column tissue"),
    "more cells than rows": (edited(fewer_rows), {}, "X is 59 × 40, but there are 60 cells and 40 genes"),
    "row pointers that do not fit": (edited(lambda file: file["X/indptr"].__setitem__(-1, 10**6)), {},
                                     "X cannot be read: its 61 row pointers do not fit 60 cells and"),
    "gene number too large": (edited(lambda file: file["X/indices"].__setitem__(0, 1000)), {},
                              "X cannot be read: a value is in column 1000 of 40"),
    "truncated": (truncated, {}, "x.h5ad: not an HDF5 file .*or a truncated one: .*truncated"),
    "damaged counts": (spoilt, {}, "x.h5ad, X cannot be read: "),
    "text": (lambda path: path.write_text("cell\tgene\n"), {}, "x.h5ad: not an HDF5 file"),
    "missing": (lambda path: None, {}, "x.h5ad: no such file; expected"),
    "no obs": (edited(lambda file: file.__delitem__("obs")), {}, "x.h5ad: not a file of the format h5ad but another "
               "HDF5 file, with X, layers, obsm, obsp, uns in it"),
    "damaged obs": (edited(lambda file: file["obs"].__delitem__("term")), {}, "x.h5ad: obs cannot be read"),
    "10x file": (foreign("matrix/barcodes"), {}, "not a file of the format h5ad but 10x_h5; set format to 10x_h5"),
    "loom": (foreign("row_attrs"), {}, "not a file of the format h5ad but loom; write it as h5ad"),
    "MuData": (foreign("mod", "obs", "var"), {}, "not a file of the format h5ad but MuData; write its RNA as h5ad"),
    "h5ad as 10x": (unchanged, {"format": "10x_h5"}, "of the format 10x_h5 but h5ad; set format"),
    "damaged 10x file": (foreign("matrix/barcodes"), {"format": "10x_h5"}, "x.h5ad: a damaged 10x file"),
    "file as folder": (unchanged, {"format": "10x_mtx"}, "is a file; format 10x_mtx is a folder"),
    "duplicate cell names": (changed(one_name), {}, r"dataset x: the cell name b is duplicated "
                             r"\(58 names are\); make them unique"),
    "no cells": (changed(lambda adata: adata[:0].copy()), {}, "x.h5ad: has no cells"),
    "no genes": (changed(lambda adata: adata[:, :0].copy()), {}, "x.h5ad: has no genes"),
    "only empty cells": (with_counts(COUNTS * 0), {}, "dataset x: no cell is left of 60"),
    "too few genes in every cell": (unchanged, {"min_genes": 41}, "dataset x: no cell is left of 60"),
    "condition that no cell meets": (unchanged, {"keep": "term == 'none'"}, "no cell is left of 60|only 0.0%"),
    "condition that says neither": (unchanged, {"keep": "term"}, r"is neither True nor False \(60 of 60 cells\)$"),
    "condition with one =": (unchanged, {"keep": f"term = '{CD4}'"}, "equal is written =="),
    "condition without a column": (unchanged, {"keep": "good"}, "the condition 'good' on obs fails: "
                                   "name 'good' is not defined; its columns are term, cell_ontology_class"),
}  # fmt: skip


@cache
def documented():
    """Sentences of docs/own_data.md as patterns, by case."""
    page = (Path(__file__).parents[2] / "docs" / "own_data.md").read_text()
    rows = re.findall(r"^\| ([^|`]+) \| `(.+)` \|$", page[page.index("| case |") :], re.MULTILINE)
    return {case: re.escape(text.replace("\\|", "|")).replace("…", ".*") for case, text in rows}


def test_page_has_cases_of_this_table():
    assert len(documented()) > 15 and set(documented()) <= set(CASES)


@pytest.fixture(scope="module")
def gene_table(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("genes") / "genes.parquet"
    gene_library.write(table, path)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_nothing_written(tmp_path, monkeypatch, capsys, gene_table, case):
    make, row, words = CASES[case]
    path = tmp_path / "x.h5ad"
    make(path)
    for name in ("out.h5ad", "qc.tsv"):
        (tmp_path / name).write_text("of an earlier run")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*")}
    facts = {"title": "X", "role": "pretraining", "citation": "me", "licence": "CC0", "cell_type": "obs.term"}
    section = json.dumps({"dataset": "x", "file": {"path": str(path)}, **facts, **row})
    arguments = ["--section", section, "--genes", gene_table, "--output", tmp_path / "out.h5ad"]
    arguments += ["--qc", tmp_path / "qc.tsv"]
    monkeypatch.setattr(sys, "argv", ["wced", "source", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    message = capsys.readouterr().err.rstrip("\n")
    assert message.startswith("wced: ") and "\n" not in message
    assert re.search(words, message), message
    assert re.fullmatch(documented().get(case, ".*"), message.removeprefix("wced: ")), "docs/own_data.md says otherwise"
    assert {file: file.read_bytes() for file in tmp_path.rglob("*")} == before
