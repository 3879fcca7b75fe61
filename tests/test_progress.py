import re
import subprocess
import sys
import time

import pytest

from wced import progress as module
from wced.progress import BYTES, advancing, duration, line, progress


@pytest.fixture
def clock(monkeypatch):
    """The time, which only the test changes."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_at_most_a_line_each_half_minute(clock, capsys):
    # The time of an item passes in the loop's body, before the item counts.
    for _ in progress([3] * 100, "shard 2", total=300, unit="cells", size=lambda n: n):
        clock[0] += 4
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert len(lines) == 400 // 32
    assert lines[0] == "shard 2: 24 of 300 cells (8%), about 6 min left"
    assert lines[-1] == "shard 2: 288 of 300 cells (96%), about 16 s left"


def test_short_work_prints_nothing_in_a_log(capsys):
    assert list(progress(range(1000), "short", unit="things")) == list(range(1000))
    assert capsys.readouterr().err == ""


def test_the_number_of_items_is_the_total(clock, capsys):
    for _ in progress("abcd", "letters", unit="letters"):
        clock[0] += 40
    assert capsys.readouterr().err.startswith("letters: 1 of 4 letters (25%), about 2 min left\n")


def test_without_a_total_there_is_no_estimate(clock, capsys):
    for _ in progress(iter("ab"), "letters", unit="letters"):
        clock[0] += 40
    assert capsys.readouterr().err == "letters: 1 letters after 40 s\nletters: 2 letters after 80 s\n"


def test_units_from_before_do_not_count_for_the_speed(clock, capsys):
    with advancing("a.whl", total=10_000_000, unit=BYTES, done=6_000_000) as advance:
        clock[0] += 50
        advance(2_000_000)
    assert capsys.readouterr().err == "a.whl: 8.0 of 10.0 MB (80%), about 50 s left\n"


def test_more_than_the_total_is_allowed():
    assert line("x", 12, 10, "cells", 5.0) == "x: 12 of 10 cells (120%), about 0 s left"


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (99, "99 s"), (720, "12 min"), (12600, "3.5 h")], ids=str)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_an_error_in_the_loop_passes():
    with pytest.raises(ZeroDivisionError):
        for n in progress([1, 0], "x", unit="numbers"):
            1 / n


def test_a_terminal_gets_a_bar_with_an_estimate():
    code = (
        "import time\nfrom wced.progress import progress\n"
        "for _ in progress(range(10), 'cells', unit='blocks'): time.sleep(0.05)\nprint('after')"
    )
    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", f'{sys.executable} -c "{code}"', "/dev/null"],
        capture_output=True, text=True, check=True, env={"TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout)
    assert re.search(r"cells .*[1-9] of 10 blocks 0:00:0\d 0:00:0\d", plain)
    assert plain.strip().endswith("after")


def test_it_costs_little():
    began = time.perf_counter()
    for _ in progress(range(10_000), "x", unit="things"):
        pass
    assert time.perf_counter() - began < 1
