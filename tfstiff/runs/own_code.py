"""Code that a folder names is run only where the user names it again. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tfstiff.errors import InvalidInput

OWN_CODE = ("arch", "objective")  # settings of a run that may be code of the user's own


def check_named_again(name: str | None, named: Collection[str | None], folder: Path, how: str) -> None:
    """Checks that a network, or an objective, which a folder names is one of tfstiff's, or named by the user too.

    A folder may come from anybody, and `module:function` would be imported and called.

    Args:
        name: What the folder names, if anything.
        named: What the user does.
        folder: That names it.
        how: To name it again, such as "--arch NAME".

    Raises:
        InvalidInput: It is code that the user does not name.
    """
    if name is not None and ":" in name and name not in named:
        raise InvalidInput(
            f"{folder} names code of its own, which is run only where you name it too.",
            expected="a network or loss that is no code of its own, or the same name given again",
            received=name,
            remedy=f"If you know and trust that code: {how}",
        )
