"""The command line of the measurements: `python -m speed`, from the root of the checkout."""

from speed import commands
from wced.cli.commands import application, run

app = application("Measure speed and time to quality: loaders, training steps, selection of cells, recipes.", commands)

if __name__ == "__main__":
    run(app)
