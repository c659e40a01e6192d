"""What a specification is, independently of process and machine: its settings, and their hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tfstiff._options import check_names
from tfstiff.runs.spec import RunSpec

_SETTINGS = tuple(field.name for field in dataclasses.fields(RunSpec))


def spec_from_dict(settings: Mapping[str, Any]) -> RunSpec:
    """The specification whose `as_config` gave the settings. Settings that are not there have their defaults.

    Raises:
        InvalidInput: A setting is unknown, or its value out of range.
    """
    check_names("A run has no setting of that name; a newer version of tfstiff may know it.", settings, _SETTINGS)
    return RunSpec.from_config(settings)


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings, in hexadecimal. The order of the settings plays no part."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def spec_hash(spec: RunSpec) -> str:
    """SHA-256 of a specification: equal for equal ones, in every process and on every machine."""
    return settings_hash(spec.as_config())
