"""Any measurement that there may be, for hypothesis; and a comparison of two of them."""

import dataclasses
import math
from collections.abc import Mapping

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np

from tfstiff.records import (
    METRICS,
    PAIR_SETS,
    BlockStiffness,
    ClassCriticalLengths,
    ClassStiffness,
    CriticalLength,
    DistanceProfile,
    DistanceStiffness,
    HalfSummary,
    Measurement,
    PairSetStiffness,
)
from tfstiff.records.directions import DIRECTIONS, DirectionEffects, StepEffects
from tfstiff.records.pair_set import CRITICAL_LENGTH_STATUSES, INTERVALS

NUMBERS = st.floats(width=64)  # NaN and infinities too
COUNTS = st.integers(0, 2**40)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs", "Cc", "Cf"]), max_size=8)


def arrays(shape, dtype=np.float64):
    elements = hnp.from_dtype(np.dtype(dtype))
    return hnp.arrays(dtype, shape, elements=elements)


def built(kind, members):
    """Any value of the dataclass `kind`, of these members; numbers may be any, and the rest is left out."""
    numbers = {"int": COUNTS, "float": NUMBERS, "bool": st.booleans()}
    others = {field.name: numbers[field.type] for field in dataclasses.fields(kind) if field.type in numbers}
    return st.builds(kind, **(others | members))


def by_class(num_classes, num_examples, has_groups):
    cells = arrays((num_classes, num_classes))
    influences = arrays(num_examples, np.float32)
    names = {"matrix": cells, "matrix_se": cells, "matrix_df": cells}
    names["blocks"] = built(BlockStiffness, {"contrast_influence": influences}) if has_groups else st.none()
    return built(ClassStiffness, names | {"within_influence": influences, "between_influence": influences})


def profiles(bins):
    counts, means = arrays(bins, np.int64), arrays(bins)
    names = {"edges": arrays(bins + 1), "count": counts, "num_examples": counts}
    return built(DistanceProfile, names | dict.fromkeys(("mean", "mean_se", "mean_sign", "mean_sign_se"), means))


def critical_lengths():
    texts = {"status": CRITICAL_LENGTH_STATUSES, "interval": INTERVALS, "metric": METRICS, "method": ("linear",)}
    names = {name: st.sampled_from(known) for name, known in texts.items()}
    return built(CriticalLength, names | {"covariance": arrays((2, 2))})


def lengths_by_class(num_classes):
    numbers = dict.fromkeys(("value", "low", "high", "intercept", "slope"), arrays(num_classes))
    texts = {
        name: st.tuples(*[st.sampled_from(known)] * num_classes)
        for name, known in (("status", CRITICAL_LENGTH_STATUSES), ("interval", INTERVALS))
    }
    others = {"covariance": arrays((num_classes, 2, 2)), "num_pairs": arrays(num_classes, np.int64)}
    return built(ClassCriticalLengths, numbers | texts | others)


@st.composite
def pair_sets(draw, num_classes, has_groups):
    size = draw(st.integers(0, 3))
    classes = by_class(num_classes, size, has_groups) if num_classes else st.none()
    space = st.builds(
        DistanceStiffness,
        profiles(draw(st.integers(1, 4))),
        critical_lengths(),
        critical_lengths() if num_classes else st.none(),
        lengths_by_class(num_classes) if num_classes else st.none(),
    )
    names = {"sign": classes, "cosine": classes}
    names["pair_counts"] = arrays((num_classes, num_classes), np.int64) if num_classes else st.none()
    names["spaces"] = st.fixed_dictionaries({"input": space}, optional={"a/layer": space})
    return draw(built(PairSetStiffness, names))


@st.composite
def directions(draw):
    num_classes = draw(st.integers(1, 3))
    shape = (draw(st.sampled_from([1, num_classes])), num_classes)  # one step, or one on each class
    names = [f.name for f in dataclasses.fields(StepEffects) if f.type == "np.ndarray"]
    members = dict.fromkeys(names, arrays(shape)) | {"num_examples": arrays(shape, np.int64)}
    effects = st.one_of(st.none(), built(StepEffects, members))
    return draw(st.builds(DirectionEffects, NAMES, st.one_of(st.none(), arrays(shape[0])), effects, effects))


@st.composite
def measurements(draw):
    num_classes = draw(st.integers(0, 3))
    summaries = st.builds(HalfSummary, COUNTS, NUMBERS, NUMBERS, COUNTS, COUNTS)
    size = draw(st.integers(0, 3))
    texts = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
    groups = draw(st.dictionaries(NAMES.filter(bool), texts, max_size=2)) if num_classes else {}
    return Measurement(
        train=draw(summaries),
        validation=draw(summaries),
        pair_sets={name: draw(pair_sets(num_classes, bool(groups))) for name in PAIR_SETS},
        class_names=tuple(draw(NAMES) for _ in range(num_classes)),
        step=draw(st.integers(-1, 2**40)),
        epoch=draw(NUMBERS),
        updates=draw(st.integers(-1, 2**40)),
        learning_rate=draw(NUMBERS),
        method=draw(NAMES),
        gram=draw(st.one_of(st.none(), arrays((size, size), np.float32))),
        groups=groups,
        directions=draw(st.dictionaries(st.sampled_from(DIRECTIONS), directions(), max_size=2)),
        reservations=tuple(draw(st.lists(NAMES, max_size=2))),
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
