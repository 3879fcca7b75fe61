"""Small complete inputs of a run: gene references, five datasets with planted marker genes, tables, a config."""

import csv
import gzip
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import yaml
from scipy import sparse

PUBLISHED = Path(__file__).parents[1] / "config/published"

T_CELL, CD4, CD8, B_CELL = "CL:0000084", "CL:0000624", "CL:0000625", "CL:0000236"
NK_CELL, MONOCYTE, PLASMA_CELL = "CL:0000623", "CL:0000576", "CL:0000786"
NAMES = {
    T_CELL: "T cell",
    CD4: "CD4-positive, alpha-beta T cell",
    CD8: "CD8-positive, alpha-beta T cell",
    B_CELL: "B cell",
    NK_CELL: "natural killer cell",
    MONOCYTE: "monocyte",
    PLASMA_CELL: "plasma cell",
}
"""Cell types of the generated cells; plasma cells are only in a held-out dataset."""

MARKERS = {
    T_CELL: ["CD3D", "CD3E", "CD3G", "TRAC", "CD2", "IL32", "LCK", "CD7"],
    CD4: ["CD4", "IL7R", "TCF7", "MAL"],
    CD8: ["CD8A", "CD8B", "GZMK", "CCL5"],
    B_CELL: ["MS4A1", "CD79A", "CD79B", "CD19", "BANK1", "CD74"],
    NK_CELL: ["NKG7", "GNLY", "KLRD1", "KLRF1", "PRF1", "GZMB"],
    MONOCYTE: ["LYZ", "S100A8", "S100A9", "CD14", "FCN1", "VCAN", "CST3"],
    PLASMA_CELL: ["MZB1", "JCHAIN", "SDC1", "XBP1"],
}
"""Genes that a cell type expresses strongly; CD4 and CD8 T cells also have those of T cells."""

MITOCHONDRIAL = [f"MT-{name}" for name in ("ND1", "ND2", "CO1", "CO2", "ATP8", "ATP6", "CO3", "ND3", "CYB")]
N_CODING, N_LONG_NONCODING = 300, 24
GENCODE_ONLY = 4
"""Coding genes that HGNC does not list, so that they are outside the vocabulary."""


def genes() -> pd.DataFrame:
    """Return the generated genes: gene_id, symbol, biotype, previous symbol (of every twentieth coding gene)."""
    symbols = [symbol for markers in MARKERS.values() for symbol in markers]
    symbols += [f"GENE{i}" for i in range(N_CODING - len(symbols))]
    coding = pd.DataFrame({"symbol": symbols, "biotype": "protein_coding"})
    mitochondrial = pd.DataFrame({"symbol": MITOCHONDRIAL, "biotype": "protein_coding"})
    noncoding = pd.DataFrame({"symbol": [f"LINC{i:05d}" for i in range(N_LONG_NONCODING)], "biotype": "lncRNA"})
    frame = pd.concat([coding, mitochondrial, noncoding], ignore_index=True)
    frame.insert(0, "gene_id", [f"ENSG{100001 + 7 * i:011d}" for i in range(len(frame))])
    frame["previous"] = ""
    old = frame.index[(frame.index % 20 == 0) & (frame.index < N_CODING)]
    frame.loc[old, "previous"] = "OLD" + frame.loc[old, "symbol"]
    return frame


def write_references(folder: Path) -> tuple[Path, Path]:
    """Write the GENCODE-like and the HGNC-like file, in the formats of the real ones."""
    frame = genes()
    gencode, hgnc = folder / "genes_homo_sapiens.csv.gz", folder / "hgnc_complete_set.txt.gz"
    with gzip.open(gencode, "wt") as stream:
        for i, row in enumerate(frame.itertuples()):
            stream.write(f"{row.gene_id},{row.symbol},{i % 9 + 1},{500 + 13 * i},{row.biotype}\n")
    listed = frame.drop(frame.index[N_CODING - GENCODE_ONLY : N_CODING])
    table = pd.DataFrame(
        {
            "hgnc_id": [f"HGNC:{i}" for i in listed.index],
            "symbol": listed["symbol"],
            "locus_group": np.where(listed["biotype"] == "protein_coding", "protein-coding gene", "non-coding RNA"),
            "status": "Approved",
            # Two genes share one alias, which therefore names neither.
            "alias_symbol": np.where(listed.index < 2, "SHARED|A" + listed["symbol"], ""),
            "prev_symbol": listed["previous"],
            "ensembl_gene_id": listed["gene_id"],
        }
    )
    with gzip.open(hgnc, "wt") as stream:
        table.to_csv(stream, sep="\t", index=False, quoting=csv.QUOTE_MINIMAL)
    return gencode, hgnc


def counts(
    cell_types: list[str], batches: np.ndarray, rng: np.random.Generator, depth: float = 1500.0
) -> sparse.csr_matrix:
    """Return raw counts, cells × genes(): markers 25 times their base, and a small shift for every batch."""
    frame = genes()
    base_g = np.random.default_rng(7).gamma(0.4, 1.0, len(frame)) + 0.02
    index = {symbol: i for i, symbol in enumerate(frame["symbol"])}
    rate_ng = np.tile(base_g, (len(cell_types), 1))
    for cell_type, markers in MARKERS.items():
        lineage = {cell_type} | ({CD4, CD8} if cell_type == T_CELL else set())
        rows = np.flatnonzero([term in lineage for term in cell_types])
        rate_ng[np.ix_(rows, [index[symbol] for symbol in markers])] = 25.0
    codes, _ = pd.factorize(pd.Series(batches))
    shift = np.exp(np.random.default_rng(11).normal(0, 0.25, (codes.max() + 1, len(frame))))
    rate_ng *= shift[codes]
    rate_ng /= rate_ng.sum(axis=1, keepdims=True)
    total_n = depth * rng.lognormal(0, 0.3, len(cell_types))
    return sparse.csr_matrix(rng.poisson(rate_ng * total_n[:, None]).astype(np.float32))


def _table(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return frame.set_axis(frame.index.astype(str))


def write_datasets(folder: Path, seed: int = 0) -> dict[str, dict[str, str]]:
    """Write the five datasets as h5ad files; return their rows of the table of datasets."""
    rng = np.random.default_rng(seed)
    frame = genes()
    common = {"citation": "generated for a test", "licence": "CC0", "suspension_type": "cell", "tissue_type": "tissue"}
    common |= {"disease": "PATO:0000461", "assay": "EFO:0009899"}
    rows = {}

    def write(name: str, cells: ad.AnnData, **row: str) -> None:
        cells.obs_names = [f"{name}-{i}" for i in range(cells.n_obs)]
        cells.write_h5ad(folder / f"{name}.h5ad")
        names = {"dataset": name, "title": f"Generated: {name}", "path": str(folder / f"{name}.h5ad")}
        rows[name] = common | names | row

    # Four donors, genes by symbol (some previous ones, one unknown), two cells without counts, four not primary.
    types = list(rng.choice([CD4, CD8, B_CELL, NK_CELL, MONOCYTE], 220))
    donors = rng.choice(["d1", "d2", "d3", "d4"], 220, p=[0.4, 0.3, 0.2, 0.1])
    x_ng = counts(types, donors, rng).tolil()
    x_ng[:2] = 0
    old = frame["previous"].where(frame["previous"] != "", frame["symbol"]).to_numpy(copy=True)
    old[5] = "NOBODYKNOWS"
    blood = ad.AnnData(x_ng.tocsr(), obs=_table(term=types, donor=donors, primary=np.arange(220) >= 6))
    blood.var_names = old
    write(
        "blood_symbols", blood, role="pretraining", gene_id_kind="symbol", cell_type="obs.term", donor_id="obs.donor",
        batch="obs.donor", tissue="UBERON:0000178", is_primary_data="obs.primary",
    )  # fmt: skip

    # One donor, Ensembl ids with versions, counts in raw while X is normalised, some T cells without a subtype; three
    # cells with few counts, two with mostly mitochondrial ones.
    types = list(rng.choice([T_CELL, CD4, B_CELL, MONOCYTE], 180))
    x_ng = counts(types, np.zeros(180), rng).tolil()
    x_ng[:3, 50:] = 0
    x_ng[:3, :50] = 1
    x_ng[3:5, N_CODING : N_CODING + len(MITOCHONDRIAL)] = 500
    spleen = ad.AnnData(x_ng.tocsr(), obs=_table(name=[NAMES[t] for t in types]))
    spleen.var_names = [f"{gene}.{i % 9 + 1}" for i, gene in enumerate(frame["gene_id"])]
    spleen.raw = spleen.copy()
    spleen.X = spleen.X.log1p()
    write(
        "spleen_ensembl", spleen, role="pretraining", counts="raw", cell_type="obs.name", donor_id="s1",
        tissue="spleen", sex="female",
    )  # fmt: skip

    # Smart-seq2: large counts, in a layer; coding genes only; labels by names in a second file, not for all cells.
    types = list(rng.choice([CD8, NK_CELL, MONOCYTE, B_CELL], 160))
    lung = ad.AnnData(counts(types, np.zeros(160), rng)[:, :N_CODING] * 211, obs=_table(good=[True] * 160))
    lung.obs.loc[lung.obs_names[:5], "good"] = False
    lung.layers["counts"] = lung.X.copy()
    lung.X = lung.X.log1p()
    lung.var_names = frame["symbol"][:N_CODING]
    lung.var["ensembl"] = frame["gene_id"][:N_CODING].to_numpy()
    write(
        "lung_smartseq", lung, role="pretraining", counts="layers/counts", gene_ids="ensembl", keep="good",
        cell_type="labels.name", cell_type_kind="name", labels_path=str(folder / "lung_labels.h5ad"),
        assay="Smart-seq2", tissue="UBERON:0002048",
    )  # fmt: skip
    names = pd.DataFrame({"name": [NAMES[t].upper() for t in types[:150]]}, index=lung.obs_names[:150])
    ad.AnnData(obs=names).write_h5ad(folder / "lung_labels.h5ad")

    # Held out: two and three batches; plasma cells were never seen in pretraining.
    for name, tissue, terms, batches in (
        ("held_blood", "UBERON:0000178", [CD4, CD8, B_CELL, MONOCYTE, PLASMA_CELL], ["b1", "b2"]),
        ("held_lung", "UBERON:0002048", [CD8, NK_CELL, B_CELL, MONOCYTE], ["b1", "b2", "b3"]),
    ):
        types, batch = list(rng.choice(terms, 180)), rng.choice(batches, 180)
        held = ad.AnnData(counts(types, batch, rng), obs=_table(term=types, batch=batch))
        held.var_names = frame["gene_id"]
        write(name, held, role="held_out", cell_type="obs.term", batch="obs.batch", donor_id="obs.batch", tissue=tissue)
    return rows


def write_table(rows: dict[str, dict[str, str]], path: Path) -> Path:
    """Write rows (column name to cell) as a table of datasets."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [columns, *([row.get(column, "") for column in columns] for row in rows.values())]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def write_cell_type_names(path: Path) -> Path:
    """Write the table of cell type names: the names in capitals, without the natural killer cell."""
    lines = [f"{name.upper()}\t{term}\t{name}\n" for term, name in NAMES.items() if term != NK_CELL]
    path.write_text("name\tcell_type_ontology_term_id\tlabel\n" + "".join(lines))
    return path


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    both = {key for key in base.keys() & change.keys() if isinstance(base[key], dict) and isinstance(change[key], dict)}
    return {**base, **change, **{key: _merged(base[key], change[key]) for key in both}}


def write_generated_run(folder: Path, **overrides: Any) -> Path:
    """Write inputs and a complete config into an existing folder; return the config's path.

    Overrides are top-level keys of the config: mappings are merged into the defaults, other values replace them.
    """
    folder = Path(folder).resolve()
    gencode, hgnc = write_references(folder)
    table = write_table(write_datasets(folder), folder / "datasets.tsv")
    heads = [
        {"column": "cell_type_ontology_term_id", "loss": "hierarchical"},
        {"column": "tissue_ontology_term_id", "loss": "focal"},
        {"column": "tissue_general_ontology_term_id", "loss": "focal"},
        {"column": "donor_id", "loss": "focal"},
    ]
    size = {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64, "value_frequencies": 8}
    training = {
        "label_heads": heads,
        "epochs": 16,  # the encoder learns these cell types between the sixth and the thirteenth
        "batch_size": 32,
        "optimiser": {"learning_rate": 5e-3, "warmup_steps": 5},
    }
    config = {
        "run": "generated",
        "results": str(folder / "results"),
        "seed": 3,
        "genes": {"gencode": {"path": str(gencode)}, "hgnc": {"path": str(hgnc)}},
        "sources": {
            "table": str(table),
            "cell_type_names": str(write_cell_type_names(folder / "cell_type_names.tsv")),
            "archives": str(folder / "results" / "archives"),
        },
        "census": {"datasets": ["blood_symbols", "spleen_ensembl", "lung_smartseq"]},
        "cells": {"filter": {"min_counts": 100, "min_genes": 20, "max_mt_fraction": 0.3}},
        "shards": {"count": 2},
        "pretraining": {
            "model": size | {"decoder_width": 32},
            "checkpoints": {
                "mlm_multitask": {"mlm": {}, "input": {"length": 128, "zeros": "interleave"}, **training},
                "wced_multitask": {"wced": {}, "input": {"length": 128, "dropout": 0.2}, **training},
            },
            "precision": "32-true",
            "progress_every": 5,
        },
        "embedding": {
            "datasets": ["held_blood", "held_lung"],
            "concat": ["mlm_multitask", "wced_multitask"],
            "untrained": "wced_multitask",
            "baselines": ["hvg", "pca"],
            "n_top_genes": 100,
            "n_components": 10,
            "batch_size": 64,
        },
        "benchmarks": {
            "neighbours": 30,
            "zero_shot_integration": {"datasets": ["held_blood"]},
            "czi": {"datasets": ["held_blood", "held_lung"], "folds": 2},
            "zero_shot_annotation": {"datasets": ["held_lung"]},
        },
        "learnability": {"min_nonzero": 5, "top": 5},
        "report": {"title": "A generated run", "umap_neighbours": 10, "published": str(PUBLISHED)},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(_merged(config, overrides), sort_keys=False))
    return path
