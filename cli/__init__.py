"""The `tfstiff` command. One file a command; each is imported only when it is called, so that `--help` stays fast."""

from .main import main

__all__ = ["main"]
