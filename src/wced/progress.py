"""Progress of long work on standard error: a bar with an estimate on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

EVERY = 30.0
"""Seconds between two lines of a log. Work that ends sooner prints nothing there."""

BYTES = "bytes"
"""The unit that is shown as MB."""


def progress(
    items: Iterable[Item], name: str, *, total: int | None = None, unit: str, size: Callable[[Item], int] | None = None
) -> Iterator[Item]:
    """Yield the items and show how many units of them are done.

    Parameters
    ----------
    name
        What the work is, such as `shard 3`.
    total
        Units of all items; by default the number of items, if they have one.
    unit
        What is counted, in the plural, such as `cells`.
    size
        Returns the units of an item; by default 1.
    """
    if total is None and size is None and hasattr(items, "__len__"):
        total = len(items)
    with advancing(name, total=total, unit=unit) as advance:
        for item in items:
            yield item
            advance(1 if size is None else size(item))


@contextmanager
def advancing(name: str, *, total: int | None, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of units that have been completed since its last call.

    The parameters are those of `progress`; `done` units from before do not count for the speed. Without a total there
    is no estimate.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    counter = DownloadColumn() if unit == BYTES else TextColumn("{task.fields[count]}")
    columns = [TextColumn("{task.description}"), BarColumn(), counter, TimeElapsedColumn(), TimeRemainingColumn()]
    # Without a terminal the bar is not shown, but it still counts.
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=total, completed=done, count=_count(done, total, unit))
        start = last = time.monotonic()

        def advance(n: int) -> None:
            nonlocal last
            bar.advance(task, n)
            now, completed = time.monotonic(), int(bar.tasks[0].completed)
            if console.is_terminal:
                bar.update(task, count=_count(completed, total, unit))
            elif now - last >= EVERY:
                last = now
                print(line(name, completed, total, unit, now - start, done), file=sys.stderr, flush=True)

        yield advance


def line(name: str, completed: int, total: int | None, unit: str, seconds: float, before: int = 0) -> str:
    """Return a line of a log: the share that is done, and an estimate of the remaining time.

    The time that the units since `before` took is `seconds`; `completed` includes those before.
    """
    text = f"{name}: {_count(completed, total, unit)}"
    if not total:
        return f"{text} after {duration(seconds)}"
    text += f" ({completed / total:.0%})"
    return f"{text}, {left(completed, total, seconds, before)}" if completed > before else text


def left(completed: int, total: int, seconds: float, before: int = 0) -> str:
    """Return how long the rest takes at the mean speed so far, as `about 12 min left`; see `line`."""
    return f"about {duration(seconds * max(total - completed, 0) / (completed - before))} left"


def _count(completed: int, total: int | None, unit: str) -> str:
    numbers = [completed, total] if total else [completed]
    if unit == BYTES:
        return f"{' of '.join(f'{n / 1e6:,.1f}' for n in numbers)} MB"
    return f"{' of '.join(f'{n:,}' for n in numbers)} {unit}"


def duration(seconds: float) -> str:
    """Return a time with a suitable unit: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
