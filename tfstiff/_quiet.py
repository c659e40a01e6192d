"""TensorFlow without its start-up chatter, for the command line."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def import_tensorflow() -> ModuleType:
    """Imports TensorFlow and starts its devices with the start-up log lines held back; returns the module.

    TensorFlow writes some of them before its own log level is read, so the file descriptor is what has to be silenced.
    Where the import fails they are shown, and where `TF_CPP_MIN_LOG_LEVEL` asks for them: it is 0 or 1.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1"):
        import tensorflow as tf

        return tf
    with standard_error_held_back():
        import tensorflow as tf

        tf.config.list_physical_devices()  # CUDA speaks when it is first looked for
    tf.get_logger().setLevel("ERROR")
    return tf


@contextmanager
def standard_error_held_back() -> Iterator[None]:
    """Shows what is written to standard error, by C code too, only where an error is raised."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
