import itertools

import pytest

from tfstiff import RunSpec
from tfstiff.errors import InvalidInput
from tfstiff.sweeps import distinct, grid, named, varied_settings


def test_a_grid_is_every_combination():
    axes = {"seed": [0, 1], "learning_rate": [1e-4, 8e-4], "arch": ["fc", "cnn"]}
    specs = grid(axes)
    found = [(spec.seed, spec.learning_rate, spec.arch) for spec in specs]
    assert found == list(itertools.product([0, 1], [1e-4, 8e-4], ["fc", "cnn"]))


def test_seeds_change_last_wherever_they_stand():
    assert [spec.seed for spec in grid({"learning_rate": [1e-4, 2e-4], "seed": [3, 5]})] == [3, 3, 5, 5]


def test_a_preset_is_a_setting_like_any_other():
    specs = grid({"preset": ["iclr", "v1"], "epochs": [3]})
    assert specs == [RunSpec.from_preset("iclr", epochs=3), RunSpec.from_preset("v1", epochs=3)]


def test_repetitions_are_left_out():
    assert grid({"seed": [1, 1, 0]}) == [RunSpec(seed=1), RunSpec(seed=0)]
    assert distinct([RunSpec(), RunSpec(learning_rate=8e-4)]) == [RunSpec()]


def test_bad_settings():
    with pytest.raises(InvalidInput, match="needs a value"):
        grid({"seed": []})
    with pytest.raises(InvalidInput, match="learning rate"):
        grid({"learning_rate": [1e-4, -1.0]})


def test_names_say_what_differs():
    specs = grid({"learning_rate": [1e-4, 8e-4], "seed": [0, 1], "permute_labels": [False, True]})
    assert varied_settings(specs) == ["learning_rate", "permute_labels", "seed"]
    names = [trial.name for trial in named(specs)]
    assert names[0] == "lr0.0001-permute_labelsno-seed0"
    assert len(set(names)) == len(names) == 8


def test_names_are_file_names():
    specs = grid({"dataset": ["npz:/a/../b c.npz", "npz:/other/b c.npz", "cifar10"], "hidden": [(5,), (500,) * 60]})
    names = [trial.name for trial in named(specs)]
    assert len({name.lower() for name in names}) == len(specs)
    for name in names:
        assert name[0].isalnum()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert len(name) <= 100


def test_a_single_trial_has_a_name():
    assert [trial.name for trial in named([RunSpec()])] == ["fashion_mnist_mini-fc"]


def test_existing_trials_keep_their_names():
    before = named(grid({"learning_rate": [1e-4, 8e-4]}))
    after = named(grid({"learning_rate": [1e-4, 8e-4], "seed": [0, 1]}), before)
    assert {trial.name for trial in before} <= {trial.name for trial in after}
    assert [trial.name for trial in after] == ["lr0.0001", "lr0.0008", "lr0.0001-seed1", "lr0.0008-seed1"]
