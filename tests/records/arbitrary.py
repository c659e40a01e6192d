"""Any measurement that there may be, for hypothesis; and a comparison of two of them."""

import dataclasses
import math
from collections.abc import Mapping

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np

from tfstiff.records import (
    PAIR_SETS,
    ClassStiffness,
    CriticalLength,
    DistanceProfile,
    HalfSummary,
    Measurement,
    PairSetStiffness,
)
from tfstiff.records.measurement import CRITICAL_LENGTH_STATUSES

NUMBERS = st.floats(width=64)  # NaN and infinities too
COUNTS = st.integers(0, 2**40)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


def arrays(shape, dtype=np.float64):
    elements = hnp.from_dtype(np.dtype(dtype))
    return hnp.arrays(dtype, shape, elements=elements)


def by_class(num_classes):
    return st.builds(ClassStiffness, arrays((num_classes, num_classes)), *[NUMBERS] * 4)


@st.composite
def pair_sets(draw, num_classes):
    bins = draw(st.integers(1, 4))
    one = draw(st.none() if num_classes == 0 else by_class(num_classes))
    two = draw(st.none() if num_classes == 0 else by_class(num_classes))
    counts = draw(st.none() if num_classes == 0 else arrays((num_classes, num_classes), np.int64))
    profile = DistanceProfile(draw(arrays(bins + 1)), draw(arrays(bins)), draw(arrays(bins, np.int64)))
    status = draw(st.sampled_from(CRITICAL_LENGTH_STATUSES))
    length = CriticalLength(draw(NUMBERS), status, *(draw(NUMBERS) for _ in range(4)), draw(COUNTS))
    return PairSetStiffness(one, two, counts, draw(NUMBERS), draw(NUMBERS), profile, length)


@st.composite
def measurements(draw):
    num_classes = draw(st.integers(0, 3))
    summaries = st.builds(HalfSummary, COUNTS, NUMBERS, NUMBERS, COUNTS, COUNTS)
    size = draw(st.integers(0, 3))
    return Measurement(
        train=draw(summaries),
        validation=draw(summaries),
        pair_sets={name: draw(pair_sets(num_classes)) for name in PAIR_SETS},
        class_names=tuple(draw(NAMES) for _ in range(num_classes)),
        step=draw(st.integers(-1, 2**40)),
        epoch=draw(NUMBERS),
        updates=draw(st.integers(-1, 2**40)),
        learning_rate=draw(NUMBERS),
        method=draw(NAMES),
        gram=draw(st.one_of(st.none(), arrays((size, size), np.float32))),
    )


def assert_same(found, expected, place="measurement"):
    """Types, dtypes and every bit that has a meaning; NaN equals NaN."""
    if isinstance(expected, Mapping):
        assert list(found) == list(expected), place
        for key in expected:
            assert_same(found[key], expected[key], f"{place}[{key}]")
        return
    assert type(found) is type(expected), place
    if dataclasses.is_dataclass(expected):
        for field in dataclasses.fields(expected):
            assert_same(getattr(found, field.name), getattr(expected, field.name), f"{place}.{field.name}")
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, place
        np.testing.assert_array_equal(found, expected, err_msg=place, strict=True)
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found), place
    else:
        assert found == expected, place
