"""The command line: ``tmem``."""

from tmem.cli.app import main

__all__ = ["main"]
