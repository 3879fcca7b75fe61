"""Replaces `wced` while Snakemake runs: a job gets its faults, one at each attempt, and then runs undisturbed.

The folder `$WCED_FAULTS` has `plans/<job>.json`, the remaining faults of a job. Written are `jobs/<job>.json` for an
undisturbed job and `met/<job>.<number>.json` for each fault.
"""

import ctypes
import fcntl
import hashlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

OUTPUTS = (
    *("--output", "--qc", "--table", "--tables", "--figures", "--page", "--all-epochs"),
    *("--differences", "--ranking"),
)
"""Options of the commands that name what is written."""

TIMED = ("tables/timings.tsv", "report/index.html")
"""Files of a run with times, which differ each time."""

CAPABILITIES = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, for which root may write where nobody may."""


def standing(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run by its path, except logs, records, states and times.

    The collection, whose files have random names, and folders that are still being written are left out.
    """
    digests = {}
    for path in sorted(out.rglob("*")):
        place = path.relative_to(out).as_posix()
        elsewhere = place.startswith(("logs/", "corpus/census/", "state/")) or "/." in f"/{place}"
        if elsewhere or place.endswith(".provenance.json") or place in TIMED:
            continue
        try:
            if path.is_file():
                digests[place] = hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            pass  # of another job, whose failed attempt is being removed
    return digests


def main() -> int:
    """Run `wced` with the words of the command line; return its status, or 1 after a fault."""
    words, faults, out = sys.argv[1:], Path(os.environ["WCED_FAULTS"]), os.environ["WCED_FAULTS_OUT"]
    named = json.dumps(words).replace(str(Path(out).parent), "RESULTS")
    name = f"{words[0]}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"
    plan = faults / "plans" / f"{name}.json"
    left = json.loads(plan.read_text()) if plan.exists() else []
    if not left:
        begun = time.monotonic()
        status = subprocess.run([sys.executable, "-m", "wced", *words], check=False).returncode
        record = {"words": words, "seconds": time.monotonic() - begun}
        (faults / "jobs" / f"{name}.json").write_text(json.dumps(record))
        return status
    plan.write_text(json.dumps(left[1:]))
    reference = json.loads((faults / "reference.json").read_text())
    met = attempt(words, left[0], faults)
    torn = [place for place, digest in standing(Path(out)).items() if reference.get(place) != digest]
    record = {"words": words, **left[0], **met, "torn": torn}
    (faults / "met" / f"{name}.{len(left)}.json").write_text(json.dumps(record))
    return 1


def attempt(words: list[str], fault: dict[str, Any], faults: Path) -> dict[str, Any]:
    """Run a command with a fault; return its status, its output, and the temporary folders that it left."""
    outputs = [Path(path) for option, path in itertools.pairwise(words) if option in OUTPUTS]
    if fault["kind"] == "vanished input":
        words = [f"{word}.vanished" if i == fault["word"] else word for i, word in enumerate(words)]
    command, pipes = [sys.executable, "-m", "wced", *words], {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with (faults / "lock").open("w") as lock:
        if fault["kind"] == "read-only folder":
            fcntl.flock(lock, fcntl.LOCK_EX)  # one job must not make a folder writable that another needs read-only
            folders = {path if path.is_dir() else path.parent for path in outputs}
            for folder in folders:
                folder.chmod(0o555)
        else:
            folders = set()
        try:
            with subprocess.Popen(command, **pipes, text=True, preexec_fn=lambda: _hamper(fault)) as process:
                if fault["kind"] in ("SIGKILL", "SIGTERM"):
                    try:
                        process.wait(fault["seconds"])
                    except subprocess.TimeoutExpired:
                        process.send_signal(getattr(signal, fault["kind"]))
                said, _ = process.communicate()
        finally:
            for folder in folders:
                folder.chmod(0o755)
    print(said, end="")
    left = [str(path) for output in outputs for path in output.parent.glob(f".{output.name}.*")]
    return {"status": process.returncode, "said": said, "left": left}


def _hamper(fault: dict[str, Any]) -> None:
    """Apply the fault to this process before it becomes the command."""
    if fault["kind"] == "full disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault["bytes"], fault["bytes"]))
    if fault["kind"] == "read-only folder":
        for capability in CAPABILITIES:
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; only has an effect for root
