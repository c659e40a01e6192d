"""All methods against one tape an example in float64, on the papers' networks and real images."""

import functools

import keras
import numpy as np
import pytest
from oracles import differing_signs, float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX

from tfstiff import datasets, models
from tfstiff.gradients import METHODS, gradient_gram, per_example_gradients

COUNTS = {"fc": 64, "cnn": 64, "cnn-v1": 32, "resnet20": 16, "resnet20 perturbed": 16}


@functools.cache
def images(count):
    dataset = datasets.load("fashion_mnist_mini")
    x = datasets.Preprocessing.fit(dataset.train.x).apply(dataset.train.x[:count])
    return x.astype("float32"), dataset.train.y[:count]


@functools.cache
def case(name):
    """Model, images, labels, and the per-example gradients as they should be."""
    keras.utils.set_random_seed(1)
    x, y = images(COUNTS[name])
    build = functools.partial(models.build, name.split()[0], (28, 28, 1), 10)
    model = build()
    if "perturbed" in name:
        rng = np.random.default_rng(0)
        model.set_weights([weight + 0.02 * rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model, x, y, reference_gradients(float64_twin(build, model), x, y, SOFTMAX)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", COUNTS)
def test_gram_and_signs(name, method):
    model, x, y, gradients = case(name)
    if method == "jacobian":  # its work grows as n²
        x, y, gradients = x[:16], y[:16], gradients[:16]
    gram, expected = gradient_gram(model, x, y, loss=SOFTMAX, method=method), gradients @ gradients.T
    assert relative_error(gram, expected) < 1e-5
    assert differing_signs(gram, expected) == 0


@pytest.mark.parametrize("method", METHODS)
def test_gradients_themselves(method):
    model, x, y, gradients = case("cnn")
    found = per_example_gradients(model, x[:20], y[:20], loss=SOFTMAX, method=method)
    assert relative_error(found, gradients[:20]) < 1e-5


def test_the_papers_networks_need_no_generic_path(recwarn):
    for name in COUNTS:
        model, x, y, _ = case(name)
        gradient_gram(model, x, y, loss=SOFTMAX, method="structured")
    assert not [warning for warning in recwarn if "slower path" in str(warning.message)]


def test_the_zero_kernels_of_resnet20_have_gradients_once_they_are_not_zero():
    """So that the perturbed case tests what the other does not."""
    for name, expected in (("resnet20", False), ("resnet20 perturbed", True)):
        model, x, y, _ = case(name)
        first = per_example_gradients(model, x[:2], y[:2], loss=SOFTMAX)
        sizes = np.cumsum([0] + [np.prod(weight.shape) for weight in model.trainable_weights])
        behind = model.trainable_weights[2]  # the first kernel of a block, behind a zero kernel
        assert behind.shape == (3, 3, 16, 16)
        assert first[:, sizes[2] : sizes[3]].any() == expected
