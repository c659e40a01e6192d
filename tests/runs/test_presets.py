import dataclasses
import json

import numpy as np
import pytest

from tfstiff import RunSpec
from tfstiff.errors import InvalidInput
from tfstiff.measuring.options import MeasureOptions
from tfstiff.runs.presets import PRESETS, preset

GOVERNED = {
    *("arch", "learning_rate", "epochs", "stop_at_loss", "pair_sets", "metrics", "distance", "space", "distance_pairs"),
    *("critical_length_method", "critical_length_metric"),
}


def test_the_second_version_is_the_default():
    assert RunSpec.from_preset("iclr") == RunSpec()


def test_the_first_version():
    spec = RunSpec.from_preset("v1")
    assert {name: getattr(spec, name) for name in GOVERNED} == {
        "arch": "fc-v1",
        "learning_rate": 1e-4,
        "epochs": 100,
        "stop_at_loss": (1.0, 0.3, 0.1),
        "pair_sets": ("val_val",),
        "metrics": ("sign",),
        "distance": "cosine_similarity",
        "space": "all",
        "distance_pairs": "all",
        "critical_length_method": "first_crossing",
        "critical_length_metric": "sign",
    }
    others = {field.name for field in dataclasses.fields(spec)} - GOVERNED
    assert {name: getattr(spec, name) for name in others} == {name: getattr(RunSpec(), name) for name in others}


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_says_everything_that_the_versions_differ_in(name):
    found = preset(name)
    assert found.settings.keys() == GOVERNED
    assert len(found.learning_rates) == 5
    assert found.settings["learning_rate"] == sorted(found.learning_rates)[2]


def test_the_learning_rates():
    assert np.diff(np.log2(preset("iclr").learning_rates)) == pytest.approx(1)
    assert preset("v1").learning_rates == (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)


def test_everything_can_be_otherwise():
    changes = dict(PRESETS["iclr"].settings) | {"seed": 3}
    assert RunSpec.from_preset("v1", **changes) == RunSpec(seed=3)
    assert RunSpec.from_preset("v1", distance="l2").distance == "l2"


def test_an_unknown_preset():
    with pytest.raises(InvalidInput, match="no preset") as caught:
        RunSpec.from_preset("v2")
    assert "iclr or v1" in str(caught.value)


def test_options_of_measure_are_passed_on_whatever_the_defaults_are():
    assert RunSpec().measure_options() == MeasureOptions()
    found = RunSpec(distance="l1", distance_bins="quantile", keep_gram=True).measure_options()
    assert found == MeasureOptions(distance="l1", distance_bins="quantile", keep_gram=True)
    v1 = {name: value for name, value in PRESETS["v1"].settings.items() if name in vars(MeasureOptions())}
    assert len(v1) == 6
    assert RunSpec.from_preset("v1").measure_options() == MeasureOptions(**v1)


def test_a_specification_can_be_kept_as_json():
    spec = RunSpec.from_preset("v1", stop_at_loss=[0.1, 1], metrics=["cosine", "sign"])
    assert (spec.stop_at_loss, spec.metrics) == ((1.0, 0.1), ("sign", "cosine"))
    read = json.loads(json.dumps(dataclasses.asdict(spec)))
    assert RunSpec(**{**read, "probe_size": tuple(read["probe_size"])}) == spec


def test_what_an_older_version_wrote_is_read():
    config = RunSpec(distance="l2", groups="cifar10").as_config()
    for name in ("distance_bins", "critical_length_method", "groups"):
        del config[name]
    assert RunSpec.from_config({**config, "num_classes": 10, "of_another_version": 1}) == RunSpec(distance="l2")
    assert list(config)[:3] == ["dataset", "arch", "hidden"]
    assert not any(isinstance(value, dict) for value in config.values())


@pytest.mark.parametrize(
    "change",
    [
        *({"stop_at_loss": value} for value in (0.0, -1.0, (1.0, 0.0), (1.0, 1.0), "0.1", (float("nan"),), (True,))),
        *({"stop_interval": value} for value in (0, -1, 1.5, None)),
        *({"stop_examples": value} for value in (0, 2.0)),
        *({"pair_sets": value} for value in ((), "val_val", ("val",), None, ("val_val", 3), ([],))),
        *({"metrics": value} for value in ((), "sign", ("sine",))),
        *({"space": value} for value in ("", None, 3)),
        *({"distance": value} for value in ("l3", None, "", [])),
        {"distance_pairs": "some"},
        {"critical_length_method": "cubic"},
        {"critical_length_metric": "both"},
        {"distance_bins": "wide"},
        {"method": "magic"},
        {"precision": "float16"},
        {"centering": "none"},
        *({"per_layer": value} for value in ("yes", None, 2)),
        *({"memory_limit": value} for value in (0, -1, "4GB", 1.5)),
    ],
)
def test_values_out_of_range(change):
    with pytest.raises(InvalidInput):
        RunSpec(**change)
