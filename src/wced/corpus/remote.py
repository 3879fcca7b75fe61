"""Reading over a network that fails now and then: what is worth another attempt, and how long to wait before it."""

import re
from collections.abc import Callable
from typing import TypeVar

import tenacity
import tiledbsoma as soma

from wced.config import corpus as config
from wced.errors import WcedError, one_line

T = TypeVar("T")

_FINAL_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Errors of the operating system that another attempt does not cure."""

_FINAL_MESSAGES = re.compile(
    "does not exist in schema|Could not parse|Cannot cast|Valid casts|No column named|QueryCondition"
    "|outside of the current domain|must be open for"
    "|AccessDenied|NoSuchBucket|InvalidAccessKeyId|SignatureDoesNotMatch",
    re.IGNORECASE,
)
"""What TileDB-SOMA says of wrong filters, columns, ranges and keys. It has one class of error for everything else."""


def may_pass(failure: BaseException) -> bool:
    """Return whether an error can be a fault of the network, so that another attempt may succeed.

    A wrong value filter, column or key and a closed handle are no such faults. An element that does not exist is one,
    because TileDB says the same of a store that did not answer.
    """
    # TileDB's errors arrive as SOMAError or (on metadata) as RuntimeError; those of `requests` are OSErrors.
    if isinstance(failure, (soma.SOMAError, RuntimeError)):
        return not _FINAL_MESSAGES.search(str(failure))
    return isinstance(failure, OSError) and not isinstance(failure, _FINAL_ERRORS)


def retried(section: config.Census, what: str, read: Callable[[], T]) -> T:
    """Return what `read` returns, trying again after what can be a fault of the network.

    Attempt n of `section.attempts` is followed by a wait of `section.retry_wait_seconds` × 2^(n - 1), at most 60
    seconds. Every attempt calls `read` anew, so it must not use up an iterator that it did not make.
    Messages begin with `what`, e.g. `obs of Census 2025-01-30`. Raises WcedError if the last attempt fails too. Errors
    that no attempt can cure pass through at once.
    """

    def log(state: tenacity.RetryCallState) -> None:
        print(
            f"{what}: attempt {state.attempt_number} of {section.attempts} failed, again in "
            f"{state.next_action.sleep:g} s: {reason(state.outcome.exception())}",
            flush=True,
        )

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_pass),
        stop=tenacity.stop_after_attempt(section.attempts),
        wait=tenacity.wait_exponential(multiplier=section.retry_wait_seconds, max=60),
        before_sleep=log,
        reraise=True,
    )
    try:
        return retrying(read)
    except Exception as failure:
        if not may_pass(failure):
            raise
        times = f"{section.attempts} attempt{'s' if section.attempts > 1 else ''}"
        raise WcedError(f"{what}: {reason(failure)} (after {times})") from failure


def reason(failure: BaseException) -> str:
    """Return the message of an error on one line, without the headers of an object store's answer."""
    return re.sub(r" ?\[(Headers|Remote IP): [^\]]*\]", "", one_line(failure))
