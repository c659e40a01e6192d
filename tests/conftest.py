import gc
import os
import signal

# Before anything imports TensorFlow or BLAS. Several workers share the cores, and the tests' arrays are too small for
# threads: what one gains by them, the others lose.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
for _threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

# As on most processors: without it TensorFlow has no convolutions in groups but in compiled code.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# A shell's background job begins with Ctrl-C ignored, and what a test sends itself would be too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test is timed. A change is judged by the same examples each time; whoever runs the suite by hand explores new ones.
settings.register_profile("by hand", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "by hand")


_AS_IMPORTED = {}  # the state of each module's random generators


def pytest_collection_finish(session):
    """Spares the collector what TensorFlow's modules hold, which it would look through again and again."""
    for module in {item.module for item in session.items if hasattr(item, "module")}:
        _AS_IMPORTED[module] = [(it, it.bit_generator.state) for it in vars(module).values() if _is_generator(it)]
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Gives each test the same random data, whichever tests of its module ran before it in this worker."""
    for generator, state in _AS_IMPORTED.get(getattr(item, "module", None), ()):
        generator.bit_generator.state = state


def _is_generator(thing):
    return isinstance(thing, np.random.Generator)
