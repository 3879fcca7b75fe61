#!/usr/bin/env bash
# Run by Snakemake after it made the conda environment, from the working directory of the workflow.
set -euo pipefail
pip install --no-deps --no-build-isolation --editable "${WCED_CHECKOUT:-.}"
