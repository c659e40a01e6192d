import keras
import pytest

from tfstiff.gradients import operations


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture
def register(monkeypatch):
    """`operations.register`, undone after the test."""
    monkeypatch.setattr(operations, "_RULES", dict(operations._RULES))
    return operations.register
