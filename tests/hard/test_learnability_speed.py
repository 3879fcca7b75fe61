import subprocess
import sys
from pathlib import Path

import pytest

from learnability.simulated import annotation, write_checkpoint

RUN = """
import sys, time
from pathlib import Path
import pandas as pd
start = time.process_time()
from wced import tables
from wced.config.learnability import Learnability
from wced.learnability.analysis import analyse
from wced.learnability.figures import save_figures
from wced.report.genes import render
folder = Path(sys.argv[1])
names = sys.argv[2:]
errors = tables.read(tables.GENE_ERRORS, [folder / name / "gene_errors.parquet" for name in names])
sums = {name: folder / name / "gene_error_sums.parquet" for name in names}
found = analyse(errors, sums, pd.read_parquet(folder / "annotation.parquet"), Learnability(), 0)
save_figures(found, Learnability(), folder / "figures")
render(found, Learnability(), folder / "figures", "", figures_link="", tables_link="")
# Not ru_maxrss, which begins with what the parent had when it forked.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time() - start, int(peak.split()[1]) / 1024)
"""


@pytest.mark.release(part="scale")
def test_the_analysis_of_four_checkpoints_takes_a_minute_and_two_gigabytes(tmp_path: Path):
    genes = annotation(19_000, families=37)
    genes.to_parquet(tmp_path / "annotation.parquet")
    names = ["a", "b", "c", "d"]
    for seed, name in enumerate(names):
        decoder = "wced" if seed % 2 == 0 else "mlm"
        write_checkpoint(tmp_path / name, genes, decoder=decoder, cells=200_000, epochs=10, blocks=256, seed=seed)
    asked = [sys.executable, "-c", RUN, str(tmp_path), *names]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    seconds, megabytes = map(float, done.stdout.split())
    # Seconds of the processor, which is one thread's here: other work on the machine takes none of them.
    assert seconds < 60 and megabytes < 2000, (seconds, megabytes)
