"""tfstiff: measure stiffness, the alignment of per-example gradients, while a Keras model trains.

The names below are imported when first used, so that `import tfstiff` alone does not import TensorFlow.
"""

import importlib
from typing import Any

_HOMES = {  # a name and its module must differ: an imported module takes the place of its name in the package
    # measuring
    "Probe": "measuring.probe",
    "measure": "measuring.measure",
    "StiffnessCallback": "callbacks.stiffness",
    "StopAtTrainingLoss": "callbacks.stop_at_loss",
    "StopWhenStiffnessDrops": "callbacks.stopping",
    # per-example gradients
    "gradient_gram": "gradients",
    "per_example_gradients": "gradients",
    "finite_step_stiffness": "measuring.finite_steps",
    "directional_stiffness": "measuring.directional",
    "step_effect": "measuring.effects",
    "predicted_steps": "measuring.predictions",
    "weight_alignment": "measuring.alignment",
    "audit": "measuring.audit.audit",
    # runs
    "RunSpec": "runs.spec",
    "run": "runs.run",
    "load_run": "runs.load",
    "plot": "figures.plotting",
    "at_training_loss": "analysis.comparison.observations",
    "Measurement": "records",
    # errors
    "TfstiffError": "errors",
    "InvalidInput": "errors",
    "UnsupportedModel": "errors",
}
_MODULES = {"schedules": "callbacks.schedules"}  # by the names that users know them by

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tfstiff")
    if name in _MODULES:
        return importlib.import_module(f"tfstiff.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module 'tfstiff' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tfstiff.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
