"""The exception for errors that the user can correct."""


class WcedError(Exception):
    """Bad input or a state that the program refuses: one sentence that names the file, key or row and what to do."""


def one_line(failure: Exception) -> str:
    """Return an error's message as one line."""
    return " ".join(str(failure).split()) or type(failure).__name__
