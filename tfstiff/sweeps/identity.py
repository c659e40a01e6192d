"""What a specification is, independently of process and machine: a plain dictionary, and its hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tfstiff.errors import InvalidInput
from tfstiff.run_spec import RunSpec

_FIELDS = {field.name: field for field in dataclasses.fields(RunSpec)}


def spec_to_dict(spec: RunSpec) -> dict[str, Any]:
    """All settings as JSON has them: lists for tuples, 1.0 for the rate 1."""
    return {name: float(value) if _FIELDS[name].type == "float" else value for name, value in spec.as_config().items()}


def spec_from_dict(settings: Mapping[str, Any]) -> RunSpec:
    """The specification of which `spec_to_dict` gave the settings. Settings that are not there have their defaults.

    Raises:
        InvalidInput: A setting is unknown, or its value out of range.
    """
    unknown = sorted(set(settings) - set(_FIELDS))
    if unknown:
        raise InvalidInput(
            "A run has no setting of that name.",
            expected=", ".join(_FIELDS),
            received=", ".join(unknown),
            remedy="A newer version of tfstiff may know it.",
        )
    return RunSpec.from_config(settings)


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings, in hexadecimal. The order of the settings plays no part."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def spec_hash(spec: RunSpec) -> str:
    """SHA-256 of a specification: equal for equal ones, in every process and on every machine."""
    return settings_hash(spec_to_dict(spec))
