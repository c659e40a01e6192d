import gc
import os

from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before anything imports TensorFlow

# A change is judged by the same examples each time; whoever runs the suite by hand explores new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_collection_finish():
    """Spares the collector what TensorFlow's modules hold, which it would look through again and again."""
    gc.collect()
    gc.freeze()
