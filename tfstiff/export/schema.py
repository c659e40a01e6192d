"""The tables that a run is exported as: their keys, their columns, units and long names.

Every table has a row a measurement and combination of its other keys:

- `layer`: `(all)` for the gradients of all weights, or a layer's path, where layers were measured by themselves;
- `pair_set`: `train_train`, `train_val` or `val_val`; `metric`: `sign` or `cosine`; `half`: `train` or `validation`;
- `class_a`, `class_b`: classes of the first and of the second example of a pair;
- `space`: in which distances are taken, `input` or a layer's path; `bin`: of the distance, from 0.
"""

from __future__ import annotations

from tfstiff.export.blocks import Column, Table
from tfstiff.stiffness.statistics import STATISTICS

ALL_LAYERS = "(all)"
_ERROR = "standard error, of drawing the probe's examples anew"
_FREEDOM = "degrees of freedom of the standard error"
_COUNT = "count"
_SQUARED = "squared gradient"
_DISTANCE = "distance"
_OF = ("measurement", "layer", "pair_set")
_HALF_SUMMARY = (
    ("num_examples", "examples in the probe's {} half", _COUNT),
    ("loss", "mean loss of the probe's {} half", "loss"),
    ("accuracy", "share of the probe's {} half that is classified rightly", "1"),
    ("num_zero_gradients", "examples of the {} half whose gradient is exactly zero", _COUNT),
    ("num_nonfinite", "examples of the {} half whose gradient is not finite; left out", _COUNT),
)
_LINE = (
    Column("value", "critical length: the distance at which stiffness reaches 0", _DISTANCE),
    Column("status", "what the critical length is worth", ""),
    Column("low", "lower limit of the 95 % interval of the critical length", _DISTANCE),
    Column("high", "upper limit of the 95 % interval of the critical length", _DISTANCE),
    Column("interval", "what the 95 % interval is", ""),
    Column("intercept", "the line's stiffness at distance 0"),
    Column("slope", "the line's change per unit of distance", "1/distance"),
    Column("intercept_variance", "variance of the intercept"),
    Column("covariance", "covariance of intercept and slope", "1/distance"),
    Column("slope_variance", "variance of the slope", "1/distance2"),
    Column("num_pairs", "pairs used", _COUNT),
)
QUANTITIES = ("within", "between", "contrast", "within_pairs", "between_pairs")  # with classes; `mean` always
BLOCK_QUANTITIES = ("same_group", "different_group", "contrast")  # where classes are grouped; then "block_contrast"


def empty_tables() -> dict[str, Table]:
    """The tables by name, without rows."""
    bins, metrics = frozenset({"bin"}), frozenset({"metric"})
    tables = (
        Table(
            "measurements",
            "When the model was measured, and how well it did on the probe.",
            ("measurement",),
            (
                Column("updates", "optimizer updates applied; -1 where unknown", _COUNT, variable="updates"),
                Column("learning_rate", "learning rate", variable="learning_rate"),
                Column("method", "how the gradients were computed", "", variable="method"),
                *(
                    Column(f"{half}_{name}", text.format(kind), units, variable=f"{half}_{name}")
                    for half, kind in (("train", "training"), ("validation", "validation"))
                    for name, text, units in _HALF_SUMMARY
                ),
            ),
        ),
        Table(
            "stiffness",
            "Mean stiffness: within and between classes, over all pairs, and of groups of classes where there are any.",
            (*_OF, "metric", "quantity"),
            (
                Column("value", "mean stiffness"),
                Column("se", f"mean stiffness: {_ERROR}"),
                Column("df", f"mean stiffness: {_FREEDOM}", _COUNT),
            ),
        ),
        Table(
            "class_matrix",
            "Stiffness between every two classes.",
            (*_OF, "metric", "class_a", "class_b"),
            (
                Column("value", "mean stiffness of pairs of these classes"),
                Column("se", f"class stiffness: {_ERROR}"),
                Column("df", f"class stiffness: {_FREEDOM}", _COUNT),
                Column("num_pairs", "pairs of these classes", _COUNT, lacks=metrics),
            ),
        ),
        Table(
            "class_groups",
            "The group of each class, where classes are grouped.",
            ("measurement", "class_a"),
            (Column("group", "group of the class", "", variable="class_group"),),
        ),
        Table(
            "group_permutation",
            "Permutation test of the contrast between groups of classes.",
            (*_OF, "metric"),
            (
                Column("p_value", "share of groupings of these sizes with at least this contrast"),
                Column("num_groupings", "groupings compared", _COUNT),
                Column("is_exact", "1 where these are all groupings there are, else 0"),
            ),
        ),
        Table(
            "distance",
            "Stiffness against distance, in bins.",
            (*_OF, "space", "metric", "bin"),
            (
                Column("low", "lower edge of the bin", _DISTANCE, lacks=metrics),
                Column("high", "upper edge of the bin", _DISTANCE, lacks=metrics),
                Column("num_pairs", "pairs in the bin", _COUNT, lacks=metrics),
                Column("num_examples", "different examples that these pairs hold", _COUNT, lacks=metrics),
                Column("value", "mean stiffness of the pairs in the bin", variable="distance_stiffness"),
                Column("se", f"mean stiffness in the bin: {_ERROR}", variable="distance_stiffness_se"),
                Column("num_duplicates", "pairs left out: their inputs are the same", _COUNT, lacks=metrics | bins),
            ),
        ),
        Table(
            "critical_length",
            "The critical length ξ, of all pairs compared and of one slope for all classes, with the line behind it.",
            (*_OF, "space", "fit"),
            (
                *_LINE,
                Column("distance_min", "smallest distance of the pairs used", _DISTANCE),
                Column("distance_max", "largest distance of the pairs used", _DISTANCE),
                Column("method", "how the critical length was found", ""),
                Column("metric", "stiffness that reaches 0", ""),
            ),
        ),
        Table(
            "class_critical_length", "The critical length ξ of each class by itself.", (*_OF, "space", "class_a"), _LINE
        ),
        Table(
            "pair_sets",
            "Pairs that deserve a second look.",
            _OF,
            (
                Column("num_zero", "pairs whose product is exactly zero", _COUNT),
                Column("num_uncertain_signs", "pairs whose sign may be rounding", _COUNT),
            ),
        ),
        Table(
            "statistics",
            "What the gradients of one half of the probe tell besides its stiffness.",
            _OF,
            tuple(Column(name, text, one.unit, variable=name) for one in STATISTICS for name, text in one.columns()),
        ),
        Table(
            "class_mean_gram",
            "Products of the classes' mean gradients.",
            (*_OF, "class_a", "class_b"),
            (Column("value", "product of the mean gradients of two classes", _SQUARED),),
        ),
        Table(
            "scores",
            "How hard each example of the probe is.",
            ("measurement", "half", "example"),
            (
                Column("loss", "loss of the example", "loss", variable="example_loss"),
                Column("gradient_norm", "length of the gradient", "gradient", variable="example_gradient_norm"),
                Column("el2n", "length of the error of the predicted probabilities", variable="example_el2n"),
            ),
        ),
        Table(
            "probe",
            "The examples that every measurement is made on.",
            ("half", "example"),
            (
                Column("id", "id of the example", "", variable="example_id"),
                Column("class", "class of the example, by number", variable="example_class"),
            ),
        ),
        Table(
            "influence",
            "What each example of the probe adds to the standard errors of mean stiffness.",
            (*_OF, "metric", "half", "example"),
            (
                Column("within", "influence of the example on the within-class mean"),
                Column("between", "influence of the example on the between-class mean"),
                Column("block_contrast", "influence of the example on the contrast between groups of classes"),
            ),
        ),
        Table(
            "gram",
            "Products of all gradients, the training half first.",
            ("measurement", "gradient_a", "gradient_b"),
            (Column("value", "product of two examples' gradients", _SQUARED),),
            is_tidy=False,
        ),
    )
    return {table.name: table for table in tables}
