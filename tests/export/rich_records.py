"""Records with everything that a measurement may hold, made up with NumPy."""

import dataclasses

import numpy as np
from made_up import example_scores
from synthetic_runs import measurement

from tfstiff.records import DistanceStiffness
from tfstiff.records.pair_set import BlockStiffness, ClassCriticalLengths
from tfstiff.stiffness.statistics import STATISTICS


def _statistics(rng):
    return {name: float(rng.normal()) for statistic in STATISTICS for name, _ in statistic.columns()}


def _blocks(rng, examples):
    numbers = {f.name: float(rng.normal()) for f in dataclasses.fields(BlockStiffness) if f.type == "float"}
    return BlockStiffness(**numbers, num_groupings=3, is_exact=True, contrast_influence=examples)


def _by_class(rng, num_classes):
    numbers = {name: rng.normal(size=num_classes) for name in ("value", "low", "high", "intercept", "slope")}
    return ClassCriticalLengths(
        **numbers,
        status=("ok", "beyond", "no_decay")[:num_classes],
        interval=("bounded",) * num_classes,
        covariance=rng.normal(size=(num_classes, 2, 2)),
        num_pairs=np.arange(num_classes),
    )


def _rich_pair_set(rng, found, name, num_examples, num_classes):
    counted = {"train_train": num_examples[:1], "train_val": num_examples, "val_val": num_examples[1:]}[name]
    space = next(iter(found.spaces.values()))
    coarse = dataclasses.replace(
        space.profile,
        **{
            name: getattr(space.profile, name)[:7]
            for name in ("count", "num_examples", "mean", "mean_se", "mean_sign", "mean_sign_se")
        },
        edges=space.profile.edges[:8] + 3,
        num_duplicates=5,
    )
    spaces = {
        "input": DistanceStiffness(space.profile, space.critical_length, space.critical_length, _by_class(rng, 3)),
        "model/dense": DistanceStiffness(coarse, space.critical_length),
    }
    changed = {}
    for metric in ("sign", "cosine"):
        influence = rng.normal(size=sum(counted)).astype(np.float32)
        changed[metric] = dataclasses.replace(
            getattr(found, metric),
            within_influence=influence,
            between_influence=influence / 3,
            blocks=_blocks(rng, influence / 7),
        )
    if name != "train_val":
        changed |= {"statistics": _statistics(rng), "class_mean_gram": rng.normal(size=(num_classes, num_classes))}
    return dataclasses.replace(found, **changed, spaces=spaces, num_zero=4)


def _scores(rng, number):
    return example_scores(number, 3, classes=np.arange(number) % 3, rng=rng)


def rich(step=5, seed=0):
    """A measurement with everything that there may be: layers, two spaces, groups, scores, statistics, a Gram."""
    rng = np.random.default_rng([seed, step])
    plain = measurement(step, step / 10, 0.4, 3, seed=seed)
    sizes = (2, 3)

    def pair_sets():
        return {name: _rich_pair_set(rng, found, name, sizes, 3) for name, found in plain.pair_sets.items()}

    return dataclasses.replace(
        plain,
        train=dataclasses.replace(plain.train, num_examples=sizes[0], scores=_scores(rng, sizes[0])),
        validation=dataclasses.replace(plain.validation, num_examples=sizes[1], scores=_scores(rng, sizes[1])),
        pair_sets=pair_sets(),
        layers={"model/dense": pair_sets(), "model/dense_1": pair_sets()},
        groups={"tops": plain.class_names[:2], "legs": plain.class_names[2:]},
        reservations=("No example of hats.",),
        gram=rng.normal(size=(5, 5)).astype(np.float32),
    )
