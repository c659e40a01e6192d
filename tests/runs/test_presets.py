import dataclasses
import inspect
import json

import numpy as np
import pytest

from tfstiff import RunSpec
from tfstiff.errors import InvalidInput
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


def test_options_of_measure_are_passed_on_where_they_differ():
    assert RunSpec().measure_options() == {}
    assert RunSpec(distance="l1", keep_gram=True).measure_options() == {"distance": "l1", "keep_gram": True}
    assert RunSpec.from_preset("v1").measure_options() == {
        name: PRESETS["v1"].settings[name]
        for name in GOVERNED - {"arch", "learning_rate", "epochs", "stop_at_loss", "metrics"}
    }


def test_defaults_are_those_of_measure():
    from tfstiff import measure

    changed = RunSpec(
        method="loop",
        precision="policy",
        per_layer=True,
        keep_gram=True,
        pair_sets=("val_val",),
        distance="l1",
        space="all",
        distance_pairs="all",
        critical_length_method="isotonic",
        critical_length_metric="sign",
    ).measure_options()
    parameters = inspect.signature(measure).parameters
    for name in changed.keys() & parameters.keys():
        assert parameters[name].default == getattr(RunSpec(), name), name


def test_a_specification_can_be_kept_as_json():
    spec = RunSpec.from_preset("v1", stop_at_loss=[0.1, 1], metrics=["cosine", "sign"])
    assert (spec.stop_at_loss, spec.metrics) == ((1.0, 0.1), ("sign", "cosine"))
    read = json.loads(json.dumps(dataclasses.asdict(spec)))
    assert RunSpec(**{**read, "probe_size": tuple(read["probe_size"])}) == spec


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
    ],
)
def test_values_out_of_range(change):
    with pytest.raises(InvalidInput):
        RunSpec(**change)
