"""The `wced` command. This file imports next to nothing, so that a warm process can take a command over at once."""

import os


def main() -> None:
    """Run the command line, in a fork of the warm process that the environment names, or here."""
    if "WCED_WARM" in os.environ:
        from wced.cli.warm import hand_over

        hand_over()
    from wced.cli import commands

    commands.main()
