"""Rules for a turn over a whole curve, with arrays of all pairs of measurements: what rules must find as it grows."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from tfstiff.analysis.turn_rules import Turn

WIDTH, ROUNDING, REACH = 0.05, 1e-6, 4.0


class WholeCurve:
    def __init__(self, times, values, se=None, influence=None):
        self.times, self.values = np.asarray(times, np.float64), np.asarray(values, np.float64)
        self.se = None if se is None else np.asarray(se, np.float64)
        self.influence = None if influence is None else np.asarray(influence, np.float64)
        self.finite = np.isfinite(self.values)
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.subtract.outer(np.log10(self.times), np.log10(self.times)) / WIDTH
        np.fill_diagonal(away, 0)  # also where that is -inf less -inf
        self.kernel = np.where(self.finite & (np.abs(away) < REACH), np.exp(-0.5 * away**2), 0)

    def weights(self, index, until=None):
        weights = np.zeros(len(self.times))
        weights[:until] = self.kernel[index, :until]
        return weights / weights.sum()

    def smoothed_as_it_grew(self):
        total = np.cumsum(self.kernel * np.where(self.finite, self.values, 0), axis=1)
        weight = np.triu(np.cumsum(self.kernel, axis=1)) * self.finite[:, None]
        return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)

    def smoothed(self):
        return self.smoothed_as_it_grew()[:, -1] if len(self.times) else self.values

    def change(self, coefficients):
        involved = coefficients != 0
        coefficients = coefficients[involved]
        value = float(coefficients @ self.values[involved])
        if self.influence is not None:
            return value, float(np.linalg.norm(coefficients @ self.influence[involved]))
        return value, 0.0 if self.se is None else float(np.linalg.norm(coefficients * self.se[involved]))

    def is_below(self, index, level, z, min_change):
        coefficients = -level
        coefficients[index] += 1
        change, error = self.change(coefficients)
        rounding = ROUNDING * abs(float(self.values[index]))
        return change < -max(min_change, rounding) and change < -z * error


def turning_point(curve, name="turning_point", *, patience=3, z=3.0, min_change=0.0):
    if not curve.finite.any():
        return Turn(name)
    peak = int(np.nanargmax(curve.smoothed()))
    found = Turn(name, "unconfirmed", peak, float(curve.times[peak]))
    level = curve.weights(peak)
    in_a_row = 0
    for index in (peak + 1 + np.flatnonzero(curve.finite[peak + 1 :])).tolist():
        in_a_row = in_a_row + 1 if curve.is_below(index, level, z, min_change) else 0
        if in_a_row == patience:
            time = float(curve.times[index])
            return replace(found, status="confirmed", confirmed_index=index, confirmed_time=time)
    return found


def departure(curve, name="departure", *, patience=3, z=3.0, min_change=0.0):
    run = []
    smoothed = curve.smoothed_as_it_grew()
    for before, index in pairwise(np.flatnonzero(curve.finite).tolist()):
        peak = int(np.nanargmax(smoothed[:, before]))
        run = [*run, index] if curve.is_below(index, curve.weights(peak, before + 1), z, min_change) else []
        if len(run) == patience:
            return Turn(name, "confirmed", run[0], float(curve.times[run[0]]), index, float(curve.times[index]))
    return Turn(name)


def generalization_loss(curve, name="generalization_loss", *, alpha=5.0):
    losses = np.where(curve.finite & (curve.values > 0), curve.values, np.nan)
    lowest = np.fmin.accumulate(losses) if len(losses) else losses
    above = np.flatnonzero(100 * (losses / lowest - 1) > alpha)
    if not len(above):
        return Turn(name)
    index, time = int(above[0]), float(curve.times[above[0]])
    return Turn(name, "confirmed", index, time, index, time)
