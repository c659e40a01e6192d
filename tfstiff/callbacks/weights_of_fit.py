"""Weights of examples that `fit` was given, which no measurement has."""

from __future__ import annotations

import warnings

import keras

from tfstiff._keras import arguments_of_fit


def warn_of_weights(model: keras.Model) -> None:
    """Names, in one warning, the weights of examples or classes that the `fit` which is running was given."""
    given = arguments_of_fit(model)
    found = [name for name in ("class_weight", "sample_weight") if given.get(name) is not None]
    spec = getattr(given.get("x"), "element_spec", None)
    if isinstance(spec, tuple) and len(spec) == 3:
        found.append("sample weights in its data set")
    if found:
        warnings.warn(
            f"fit weighs its examples ({', '.join(found)}); they are measured without weights. To measure the weighted "
            "losses, pass objective=, a function (model, x, y) -> (n,) losses.",
            stacklevel=3,
        )
