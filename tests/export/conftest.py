import sys
import types
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("figures", "records")]  # synthetic_runs, arbitrary
# TensorBoard's reader imports all of TensorFlow for a few file functions, unless it finds this; then it has its own.
sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
