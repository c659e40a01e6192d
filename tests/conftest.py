import gc
import os

from hypothesis import settings

# Before anything imports TensorFlow or BLAS. Several workers share the cores, and the tests' arrays are too small for
# threads: what one gains by them, the others lose.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
for _threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

# A change is judged by the same examples each time; whoever runs the suite by hand explores new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_collection_finish():
    """Spares the collector what TensorFlow's modules hold, which it would look through again and again."""
    gc.collect()
    gc.freeze()
