"""TensorFlow's start-up lines: held back, unless they are asked for."""

import os
import subprocess
import sys

import pytest


def started(level):
    """What is written to standard error while TensorFlow is imported by the command line's way."""
    code = "from tfstiff._quiet import import_tensorflow; import_tensorflow()"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stderr


@pytest.mark.parametrize("level", [None, "2", "3"])
def test_less_is_written_where_less_is_asked_for(level):
    assert started(level) == ""


def test_all_is_written_where_it_is_asked_for():
    assert "oneDNN" in started("0")
