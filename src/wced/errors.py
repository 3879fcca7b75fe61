"""The one exception that a user is meant to see."""


class WcedError(Exception):
    """Bad input or a state the program refuses, said in one sentence that names the file, key or row."""
