"""A measurement in a line, as a run tells of it."""

import math
from dataclasses import replace

from synthetic_runs import measurement

from tfstiff.runs.progress import describe


def test_it_begins_with_when_that_was():
    assert describe(measurement(12, 0.25, 0.5)).startswith("step 12 (epoch 0.25): sign ")


def test_a_measurement_of_a_saved_model_has_no_epoch():
    assert describe(replace(measurement(0, 0.0, 0.5), epoch=math.nan)).startswith("step 0: sign ")
