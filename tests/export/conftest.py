import sys
import types

# TensorBoard's reader imports all of TensorFlow for a few file functions, unless it finds this; then it has its own.
sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
