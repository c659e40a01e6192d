"""Functions of the user's own, by their import path."""

from __future__ import annotations

import importlib
import traceback
from typing import Any

from tfstiff.errors import InvalidInput


def imported(path: str, what: str) -> Any:
    """Imports `package.module:function`; the module's code is run.

    Args:
        path: The path.
        what: What it is to be, such as "architecture".

    Raises:
        InvalidInput: There is no such function, or the import fails.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # of any kind: importing runs the module
        raise InvalidInput(
            f"The {what} {path} cannot be imported: "
            f"{error if isinstance(error, ImportError | AttributeError) else told(error)}.",
            expected="package.module:function, importable from here",
            remedy="Run from the folder that holds the module, or add that folder to PYTHONPATH.",
        ) from error
    if not callable(found):
        raise InvalidInput(f"The {what} {path} is no function.", received=type(found))
    return found


def is_path(name: Any) -> bool:
    """Whether a name has the form `package.module:function`. Imports nothing."""
    module, colon, function = name.partition(":") if isinstance(name, str) else ("", "", "")
    return bool(module and colon and function)


def told(error: Exception) -> str:
    """What was raised, and where."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
