"""Code that a folder names is run only where the user names it again. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tfstiff.errors import InvalidInput


def check_named_again(arch: str, named: Collection[str | None], folder: Path, how: str) -> None:
    """Checks that a network which a folder names is one of tfstiff's, or named by the user too.

    A folder may come from anybody, and `module:function` would be imported and called.

    Args:
        arch: What the folder names.
        named: What the user does.
        folder: That names it.
        how: To name it again, such as "--arch NAME".

    Raises:
        InvalidInput: It is code that the user does not name.
    """
    if ":" in arch and arch not in named:
        raise InvalidInput(
            f"{folder} names code of its own, which is run only where you name it too.",
            expected="a network of tfstiff, or the same name given again",
            received=arch,
            remedy=f"If you know and trust that code: {how}",
        )
