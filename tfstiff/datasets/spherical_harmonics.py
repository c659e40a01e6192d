"""Synthetic data: points on a sphere, in classes whose boundaries are spherical harmonics of chosen degrees.

Not specified by the papers: the first version names "synthetic data comprising spherical harmonics" once and never says
what it is; the construction here is ours. A higher degree means labels that change over shorter distances, so that a
critical length can be held against a known scale.

Points x are uniform on the unit sphere of R^d. The K classes have orthonormal random axes a_1 … a_K, and

    label(x) = argmax_k Σ_l Z_l(x · a_k)

over the chosen degrees l, with Z_l the zonal harmonic of degree l scaled to unit mean square on the sphere. The
boundary between two classes is where the difference of two such sums is zero: for one degree, a spherical harmonic of
that degree. Permuting orthonormal axes is a rotation or reflection of the sphere, so all classes are equally likely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tfstiff.datasets.dataset import Dataset, Examples, numbered_ids
from tfstiff.errors import InvalidInput

NAME = "spherical_harmonics"
_LARGEST = {"degree": 50, "dimension": 4096, "classes": 1000, "train": 1_000_000, "validation": 1_000_000}
_LARGEST["seed"] = 2**32 - 1
_MOST_NUMBERS = 2**28  # of all points together: 2 GiB while they are made
_SYNTAX = f"{NAME}:degree=3,dimension=10,classes=10,train=10000,validation=2000,seed=0, or some of these; degree=1+3"


@dataclass(frozen=True)
class SphereOptions:
    """What the data set is made of.

    Attributes:
        degrees: Of the harmonics; several have equal weight.
        dimension: d, the number of inputs.
        classes: K, at most d.
        train: Training examples.
        validation: Validation examples.
        seed: Of the axes and the points; independent of the seed of a run.
    """

    degrees: tuple[int, ...] = (3,)
    dimension: int = 10
    classes: int = 10
    train: int = 10_000
    validation: int = 2_000
    seed: int = 0


def parse(text: str) -> SphereOptions:
    """Reads `degree=3,dimension=10,…`; what is not given has its default, and several degrees are joined by `+`.

    Raises:
        InvalidInput: An option is unknown, occurs twice, is no whole number, or is out of range.
    """
    values: dict[str, tuple[int, ...]] = {}
    for part in filter(None, text.split(",")):
        name, equals, given = (piece.strip() for piece in part.partition("="))
        numbers = given.split("+")
        if not equals or name not in _LARGEST or name in values or (len(numbers) > 1 and name != "degree"):
            raise InvalidInput(f"The options of {NAME} cannot be read.", expected=_SYNTAX, received=part)
        for number in numbers:
            smallest = {"seed": 0, "dimension": 2, "classes": 2}.get(name, 1)
            if not (number.isascii() and number.isdigit()) or not smallest <= int(number[:20]) <= _LARGEST[name]:
                raise InvalidInput(
                    f"The {name} of {NAME} is out of range.",
                    expected=f"a whole number from {smallest} to {_LARGEST[name]}",
                    received=number,
                )
        values[name] = tuple(map(int, numbers))
    degrees = values.pop("degree", SphereOptions.degrees)
    if len(set(degrees)) < len(degrees):
        raise InvalidInput("A degree occurs twice.", expected="different degrees, joined by +", received=degrees)
    options = SphereOptions(degrees, **{name: value for name, (value,) in values.items()})
    if options.classes > options.dimension:
        raise InvalidInput(
            f"{NAME} cannot have more classes than dimensions, since the axes of the classes are orthogonal.",
            expected=f"classes of 2 to {options.dimension}",
            received=options.classes,
            remedy="Choose more dimensions or fewer classes.",
        )
    if (options.train + options.validation) * options.dimension > _MOST_NUMBERS:
        raise InvalidInput(
            f"{NAME} would be too large.",
            expected=f"at most {_MOST_NUMBERS} numbers, examples times dimension",
            received=(options.train + options.validation) * options.dimension,
        )
    return options


def load(text: str = "") -> Dataset:
    """Generates the data set.

    Args:
        text: Options, as `parse` reads them.

    Returns:
        Points, (n, dimension) float32 of unit length. The same options give the same data.

    Raises:
        InvalidInput: An option cannot be used.
    """
    options = parse(text)
    random = np.random.default_rng(options.seed)
    axes = np.linalg.qr(random.standard_normal((options.dimension, options.classes)))[0]
    splits = {}
    for split, count in (("train", options.train), ("validation", options.validation)):
        x = random.standard_normal((count, options.dimension))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        y = labels(x, axes, options.degrees)
        splits[split] = Examples(x.astype(np.float32), y, numbered_ids(split, count))
    dataset = Dataset(
        name=f"{NAME}:{text}" if text else NAME,
        train=splits["train"],
        validation=splits["validation"],
        class_names=tuple(f"axis {index}" for index in range(options.classes)),
    )
    return dataset.with_provenance("generated", options=asdict(options), specified_by_the_papers=False)


def labels(x: np.ndarray, axes: np.ndarray, degrees: Sequence[int]) -> np.ndarray:
    """(n,) int64: the axis around which the sum of zonal harmonics is largest at each point.

    Args:
        x: (n, d) points of unit length.
        axes: (d, K), a unit vector in each column.
        degrees: Of the harmonics.
    """
    cosines = x @ axes
    return np.sum([zonal_harmonic(cosines, degree, len(axes)) for degree in degrees], axis=0).argmax(1)


def zonal_harmonic(cosine: np.ndarray, degree: int, dimension: int) -> np.ndarray:
    """The zonal harmonic of a degree on the unit sphere of R^d, with mean square 1 over the sphere; as `cosine`.

    It is √N P, where P is the Legendre polynomial in d dimensions (the Gegenbauer polynomial of index d/2 − 1, scaled
    to 1 at 1), which obeys

        P_0 = 1,    P_1 = t,    (l + d − 2) P_{l+1} = (2l + d − 2) t P_l − l P_{l−1},

    and N = (2l + d − 2)/l · binomial(l + d − 3, l − 1) the number of independent harmonics of degree l (Müller 1966,
    "Spherical Harmonics"). In two dimensions P_l is cos(l·angle), in three the Legendre polynomial.

    Args:
        cosine: Of the angle between a point and the axis, any shape.
        degree: l, 0 or more.
        dimension: d, 2 or more.
    """
    previous, current = np.zeros_like(cosine), np.ones_like(cosine)
    for index in range(degree):
        factor = 1 if index == 0 else (2 * index + dimension - 2) / (index + dimension - 2)
        previous, current = current, factor * cosine * current - (factor - 1) * previous
    return math.sqrt(num_harmonics(degree, dimension)) * current


def num_harmonics(degree: int, dimension: int) -> int:
    """How many independent spherical harmonics of a degree there are on the unit sphere of R^d."""
    if degree == 0:
        return 1
    return (2 * degree + dimension - 2) * math.comb(degree + dimension - 3, degree - 1) // degree
