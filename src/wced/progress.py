"""How far something long has come: a bar with an estimate on a terminal, a quiet line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

EVERY = 30.0
"""Seconds between two lines of a log. What is over sooner says nothing there."""

BYTES = "bytes"
"""The unit that is shown as kB, MB and so on."""


def progress(
    items: Iterable[Item],
    name: str,
    *,
    total: int | None = None,
    unit: str,
    size: Callable[[Item], int] | None = None,
) -> Iterator[Item]:
    """Give the items one by one, and show on standard error how far they have come.

    Parameters
    ----------
    items
        What a loop goes over.
    name
        What is being done, such as `shard 3`.
    total
        Units of all items together; their number without it, where they have one.
    unit
        What is counted, in the plural, such as `cells`.
    size
        Units of an item; 1 without it.
    """
    if total is None and size is None and hasattr(items, "__len__"):
        total = len(items)
    with advancing(name, total=total, unit=unit) as advance:
        for item in items:
            yield item
            advance(1 if size is None else size(item))


@contextmanager
def advancing(name: str, *, total: int | None, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Give a function that is told each time how many more units are done; see `progress` for the rest.

    Parameters
    ----------
    name, total, unit
        As for `progress`; without a total there is no estimate.
    done
        Units that were there before, which say nothing about the speed.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    counted = DownloadColumn() if unit == BYTES else TextColumn("{task.fields[said]}")
    columns = [TextColumn("{task.description}"), BarColumn(), counted, TimeElapsedColumn(), TimeRemainingColumn()]
    # Where there is no terminal the bar is not drawn, but it keeps the count and the estimate.
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=total, completed=done, said=_counted(done, total, unit))
        began = last = time.monotonic()

        def advance(n: int) -> None:
            nonlocal last
            bar.advance(task, n)
            now, state = time.monotonic(), bar.tasks[0]
            if console.is_terminal:
                bar.update(task, said=_counted(int(state.completed), total, unit))
            elif now - last >= EVERY:
                last = now
                print(line(name, int(state.completed), total, unit, now - began, done), file=sys.stderr, flush=True)

        yield advance


def line(name: str, completed: int, total: int | None, unit: str, seconds: float, before: int = 0) -> str:
    """Return a line of a log: the share that is done, and how long the rest takes at the mean speed so far.

    Parameters
    ----------
    name, total, unit
        As for `progress`.
    completed
        Units that are done, those that were done `before` included.
    seconds
        Time that the units after `before` have taken.
    """
    said = f"{name}: {_counted(completed, total, unit)}"
    if not total:
        return f"{said} after {duration(seconds)}"
    said += f" ({completed / total:.0%})"
    if completed > before:
        said += f", {left(completed, total, seconds, before)}"
    return said


def left(completed: int, total: int, seconds: float, before: int = 0) -> str:
    """Return how long the rest takes at the mean speed so far, as `about 12 min left`; see `line`."""
    return f"about {duration(seconds * max(total - completed, 0) / (completed - before))} left"


def _counted(completed: int, total: int | None, unit: str) -> str:
    def amount(n: int) -> str:
        return f"{n / 1e6:,.1f}" if unit == BYTES else f"{n:,}"

    return f"{amount(completed)}{f' of {amount(total)}' if total else ''} {'MB' if unit == BYTES else unit}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
