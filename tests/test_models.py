import sys

import keras
import numpy as np
import pytest

from tfstiff import models
from tfstiff.errors import InvalidInput

GREY, COLOUR = (28, 28, 1), (32, 32, 3)


@pytest.mark.parametrize(
    ("arch", "shape", "parameters"),
    [
        ("fc", GREY, 573_910),
        ("cnn", GREY, 16_938),
        ("cnn", COLOUR, 19_466),
        ("cnn-v1", GREY, 390_410),
        ("cnn-v1", COLOUR, 398_666),
        ("fc-v1", GREY, 785 * 500 + 501 * 400 + 401 * 300 + 301 * 200 + 201 * 100 + 101 * 10),
    ],
)
def test_parameter_counts(arch, shape, parameters):
    assert models.build(arch, shape, 10).count_params() == parameters


@pytest.mark.parametrize("arch", models.OF_NUMBERS)
def test_logits_of_any_range(arch):
    keras.utils.set_random_seed(0)
    model = models.build(arch, (16, 16, 3), 7)
    x = 10 * np.random.default_rng(0).normal(size=(5, 16, 16, 3)).astype("float32")
    logits = model(x).numpy()
    assert logits.shape == (5, 7)
    assert logits.min() < 0 < logits.max()
    assert not np.allclose(logits.sum(1), 1)
    assert model.name == arch
    assert not model.losses  # no regularisation


def test_resnet20_is_twenty_deep_without_normalisation():
    model = models.build("resnet20", COLOUR, 10)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert not [kind for kind in kinds if "Normalization" in kind]
    main_path = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3)
    ]
    assert len(main_path) + kinds.count("Dense") == 20
    assert kinds.count("Conv2D") - len(main_path) == 2  # the two shortcuts that change width


def test_resnet20_blocks_are_the_identity_at_first():
    model = models.build("resnet20", GREY, 10)
    x = np.random.default_rng(0).normal(size=(2, *GREY)).astype("float32")
    first, *_ = (layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    block = [layer for layer in model.layers if isinstance(layer, keras.layers.ReLU)][2]  # end of the first stage
    outputs = keras.Model(model.inputs[0], [first.output, block.output])(x)
    np.testing.assert_array_equal(outputs[0], outputs[1])


def test_hidden_widths():
    model = models.build("fc", GREY, 10, hidden=(7, 3))
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [7, 3, 10]
    assert models.build("fc-v1", (5,), 2, hidden=[4]).count_params() == 6 * 4 + 5 * 2


def test_hidden_widths_are_for_fully_connected_networks():
    with pytest.raises(InvalidInput, match="fully connected"):
        models.build("cnn", GREY, 10, hidden=(7, 3))


def test_unknown_name():
    with pytest.raises(InvalidInput, match="Did you mean resnet20"):
        models.build("resnet", GREY, 10)
    with pytest.raises(InvalidInput) as error:
        models.build("perceiver", GREY, 10)
    assert "Did you mean" not in str(error.value)
    assert all(name in str(error.value) for name in models.MODELS)


@pytest.mark.parametrize("arch", ["cnn", "cnn-v1", "resnet20"])
@pytest.mark.parametrize("shape", [(10,), (28, 28)])
def test_convolutions_need_images(arch, shape):
    with pytest.raises(InvalidInput, match="needs images"):
        models.build(arch, shape, 10)


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "import keras\n"
        "def linear(input_shape, num_classes):\n"
        "    layers = [keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)]\n"
        "    return keras.Sequential(layers)\n"
        "def nothing(input_shape, num_classes):\n"
        "    return [input_shape, num_classes]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_nets"
    sys.modules.pop("my_nets", None)


def test_the_users_own_builder(user_module):
    model = models.build(f"{user_module}:linear", (4, 5), 3)
    assert model.count_params() == 21 * 3


def test_builder_that_returns_no_model(user_module):
    with pytest.raises(InvalidInput, match="did not build a Keras 3 model"):
        models.build(f"{user_module}:nothing", (4, 5), 3)


@pytest.mark.parametrize("arch", ["my_nets:missing", "no_such_module_here:linear"])
def test_builder_that_cannot_be_imported(user_module, arch):
    with pytest.raises(InvalidInput, match="cannot be imported"):
        models.build(arch, (4, 5), 3)
