"""Stiffness by a double loop over pairs: slow, and obviously right."""

import math
from statistics import fmean

NAN = float("nan")


def dot(a, b):
    return sum(float(p) * float(q) for p, q in zip(a, b, strict=True))


def length(a):
    return math.sqrt(dot(a, a))


def is_finite(gradient):
    return all(math.isfinite(entry) for entry in gradient)


def sign_of(a, b):
    product = dot(a, b)
    return (product > 0) - (product < 0)


def cosine_of(a, b):
    return dot(a, b) / (length(a) * length(b)) if length(a) and length(b) else 0.0


def distance_of(x, x2):
    return 1 - dot(x, x2) / (length(x) * length(x2)) if length(x) and length(x2) else 1.0


def pairs_counted(gradients, gradients2, is_symmetric):
    return [
        (i, j)
        for i, a in enumerate(gradients)
        for j, b in enumerate(gradients2)
        if is_finite(a) and is_finite(b) and not (is_symmetric and i == j)
    ]


def mean(values):
    values = list(values)
    return fmean(values) if values else NAN


def cells(gradients, classes, gradients2, classes2, num_classes, is_symmetric, metric):
    """{(a, b): the metric of every pair of that cell}."""
    found = {(a, b): [] for a in range(num_classes) for b in range(num_classes)}
    for i, j in pairs_counted(gradients, gradients2, is_symmetric):
        found[classes[i], classes2[j]].append(metric(gradients[i], gradients2[j]))
    return found


def near_pairs(classes, classes2, is_symmetric):
    """Pairs of one class, or all where there are no classes; each pair once."""
    count, count2 = len(classes), len(classes2)
    return [
        (i, j)
        for i in range(count)
        for j in range(count2)
        if classes[i] == classes2[j] and not (is_symmetric and i >= j)
    ]
