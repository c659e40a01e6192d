"""Libraries that only some exports need."""

from __future__ import annotations

import importlib
from typing import Any

from tfstiff.errors import InvalidInput


def require(module: str, extra: str, purpose: str) -> Any:
    """Imports a module of an optional dependency.

    Args:
        module: Its full name.
        extra: The extra of tfstiff that installs it.
        purpose: What it is needed for, to end the sentence "… is needed …".

    Raises:
        InvalidInput: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"The Python package {error.name} is needed {purpose}, and is not installed.",
            remedy=f"pip install 'tfstiff[{extra}]'",
        ) from error
