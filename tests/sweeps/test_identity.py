import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfstiff import RunSpec
from tfstiff.errors import InvalidInput
from tfstiff.sweeps import spec_from_dict, spec_hash
from tfstiff.sweeps.identity import settings_hash

SPECS = [
    RunSpec(),
    RunSpec.from_preset("v1"),
    RunSpec(hidden=(8, 4), stop_at_loss=(0.1, 1.0), schedule=(0, 0.5, 2), train_examples=100, permute_labels=True),
    RunSpec(dataset="npz:/a/b.npz", schedule=100, data_dir="/data", memory_limit=10**9, probe_size=(7, 9)),
]


@pytest.mark.parametrize("spec", SPECS)
def test_a_specification_survives_json(spec):
    settings = json.loads(json.dumps(spec.as_config()))
    found = spec_from_dict(settings)
    assert found.as_config() == settings
    assert spec_hash(found) == spec_hash(spec)
    assert found.measured_steps(50) == spec.measured_steps(50)


def test_every_setting_changes_the_hash():
    changes = {"learning_rate": 1e-4, "epochs": 3, "seed": 1, "arch": "cnn", "permute_labels": True, "hidden": (5,)}
    hashes = {spec_hash(RunSpec()), *(spec_hash(replace(RunSpec(), **{k: v})) for k, v in changes.items())}
    assert len(hashes) == len(changes) + 1


@given(st.floats(1e-8, 10, allow_nan=False), st.integers(0, 2**32 - 1))
def test_equal_specifications_have_equal_hashes(rate, seed):
    first = RunSpec(learning_rate=rate, seed=seed)
    second = spec_from_dict(dict(reversed(first.as_config().items())))
    assert spec_hash(first) == spec_hash(second)
    assert settings_hash(dict(reversed(first.as_config().items()))) == spec_hash(first)


def test_the_kind_of_a_number_plays_no_part():
    assert spec_hash(RunSpec(learning_rate=1)) == spec_hash(RunSpec(learning_rate=1.0))
    rate = float(np.float64(8e-4))
    assert spec_hash(RunSpec(learning_rate=rate)) == spec_hash(RunSpec())


def test_the_hash_is_the_same_in_another_process():
    program = """
from tfstiff.sweeps import spec_hash
from tfstiff.runs.spec import RunSpec
print(spec_hash(RunSpec(hidden=(8, 4), learning_rate=1e-4)))
"""
    environment = os.environ | {"PYTHONHASHSEED": "17", "LC_ALL": "C"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd="/", check=True, capture_output=True, text=True
    )
    assert result.stdout.split("\n")[0] == spec_hash(RunSpec(hidden=(8, 4), learning_rate=1e-4))


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"learning_rate": -1.0}])
def test_settings_that_no_run_has(settings):
    with pytest.raises(InvalidInput):
        spec_from_dict(settings)
