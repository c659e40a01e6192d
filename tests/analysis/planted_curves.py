"""Curves of a training with a known turning point, measured on a fixed sample of examples."""

import numpy as np

TIMES = np.concatenate([[0], 10 ** np.arange(-2, 0, 0.25), np.arange(1, 31)])


def planted(peak, *, rise=0.3, fall=0.5, examples=50, spread=1.0, noise=0.0, seed=0, times=TIMES):
    """A tent in log time with its top at `peak`, over `examples` that each keep their deviation, plus noise of theirs.

    Returns (values, se, influence).
    """
    rng = np.random.default_rng(seed)
    logs = np.log10(np.maximum(times, times[times > 0].min())) - np.log10(peak)
    truth = 0.6 - np.where(logs < 0, -logs * rise, logs * fall)
    each = truth[:, None] + spread * rng.normal(size=examples) + noise * rng.normal(size=(len(times), examples))
    values = each.mean(1)
    influence = (each - values[:, None]) / np.sqrt(examples * (examples - 1))
    return values, np.linalg.norm(influence, axis=1), influence
