"""What a run was made with: enough to repeat it, and nothing private."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_ENVIRONMENT = ("KERAS_", "TF_", "XLA_", "CUDA_VISIBLE_DEVICES", "OMP_", "TFDS_")  # never the whole environment
_TERRAFORM = ("TF_VAR_", "TF_TOKEN_", "TF_CLI_")  # begin like TensorFlow's, and may be secrets
_PACKAGES = ("tfstiff", "tensorflow", "keras", "tensorflow-datasets", "numpy", "scipy", "matplotlib")


def provenance() -> dict[str, Any]:
    """The command, versions, platform, and the environment variables that bear on TensorFlow and Keras."""
    return {
        "argv": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "packages": versions(),
        "environment": {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_ENVIRONMENT) and not name.startswith(_TERRAFORM)
        },
    }


def versions(*others: str) -> dict[str, str]:
    """The versions of tfstiff, of what it stands on and of `others`, as far as they are installed."""
    return {name: found for name in (*_PACKAGES, *others) if (found := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
