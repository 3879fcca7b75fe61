"""The one exception that a user is meant to see, and the others in one line."""


class WcedError(Exception):
    """Bad input or a state the program refuses, said in one sentence that names the file, key or row."""


def one_line(failure: Exception) -> str:
    """Return an error's message as one line."""
    return " ".join(str(failure).split()) or type(failure).__name__
