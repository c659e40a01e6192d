"""Which settings of a run tell it from others: said once, for all that compares runs."""

from __future__ import annotations

SEED = "seed"  # tells apart runs of the same settings

# Two runs that differ in these alone have the same numbers at an epoch, or at a training loss, but for rounding.
# Every other setting of a run's config.json separates runs: a new one does, unless it is put here.
_ASIDE = frozenset(
    {
        # where and how it is computed
        *("data_dir", "offline", "memory_limit", "method", "deterministic", "steps_per_execution"),
        # what is kept of it, and shown
        *("pair_sets", "metrics", "per_layer", "directions", "keep_gram", "keep_models"),
        *("training_loss", "num_outputs"),  # which `loss` and `num_classes` tell apart
        # when it is measured, and when training ends; where the learning rate falls, `decay_steps` tells runs apart
        *("epochs", "schedule", "measured_steps", "stop_at_loss", "stop_interval", "stop_examples"),
        *("num_stop_examples", "stop_when_stiffness_drops", "stiffness_monitor", "min_stiffness_drop"),
    }
)


def separates_runs(name: str) -> bool:
    """Whether runs with different values of a setting are of different settings."""
    return name != SEED and name not in _ASIDE
