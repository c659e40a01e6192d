"""Options are said once: what is made from their fields shows them, and says the same of what is wrong."""

import inspect
from dataclasses import dataclass, fields

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from tfstiff_cli import main
from tfstiff_cli.setting_options import flag_of

import tfstiff
from tfstiff import Probe, RunSpec, StiffnessCallback, gradient_gram, measure, per_example_gradients
from tfstiff._options import check_fields, documented, option, option_class, option_fields, part_of, takes
from tfstiff.errors import InvalidInput
from tfstiff.gradients import explain
from tfstiff.gradients.options import GradientOptions, ProductOptions
from tfstiff.measuring.distributed import measure_in_parts
from tfstiff.measuring.options import MeasureOptions

OPTIONS = {field.name: field for field in fields(MeasureOptions)}


@option_class
@dataclass(frozen=True, kw_only=True)
class Base:
    """Some.

    Attributes:
        **options: The fields.
    """

    colour: str = option("red", "Of the line.", choices=("red", "green"))
    size: int | None = option(None, "In points.", unset="as large as fits")

    def __post_init__(self):
        check_fields(self)


@option_class
@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    """More.

    Attributes:
        **options: The fields.

    Raises:
        InvalidInput: Never.
    """

    sides: tuple[str, ...] = option(("left",), "Where.", choices=("left", "right"), several=True)
    dashed: bool = option(False, "Dashes.")


@takes(Derived)
def draw(place, *, label=None, **options):
    """Draws.

    Args:
        place: Where.
        label: What.
        **options: Those of `Derived`, which
            are many.

    Returns:
        The options.
    """
    return Derived(**options)


@takes(Base)
class Pen:
    """A pen.

    Args:
        **options: Those.
    """

    def __init__(self, width=1, **options):
        self.options = Base(**options)


class Brush(Pen):
    def __init__(self, hairs):
        super().__init__(colour="green")


def test_signatures_show_every_option():
    assert list(inspect.signature(draw).parameters) == ["place", "label", "sides", "dashed", "colour", "size"]
    assert inspect.signature(draw).parameters["colour"].default == "red"
    assert list(inspect.signature(Pen).parameters) == ["width", "colour", "size"]
    assert list(inspect.signature(Brush).parameters) == ["hairs"]
    assert Brush(3).options.colour == "green"


def test_docstrings_show_every_option():
    assert inspect.getdoc(draw) == (
        "Draws.\n\nArgs:\n    place: Where.\n    label: What.\n"
        '    sides: Where. Some of `"left"` and `"right"`.\n    dashed: Dashes.\n'
        '    colour: Of the line. One of `"red"` and `"green"`.\n    size: In points. None means as large as fits.\n'
        "\nReturns:\n    The options."
    )
    assert "    dashed: Dashes.\n" in inspect.getdoc(Derived)
    assert inspect.getdoc(Derived).endswith("Raises:\n    InvalidInput: Never.")
    assert "size: In points." in inspect.getdoc(Pen)
    assert documented(None, Base) is None  # of Python without docstrings


def test_a_name_that_is_not_known_says_which_was_meant():
    for call, name in ((draw, "draw"), (Pen, "Pen"), (Derived, "Derived")):
        given = () if call is Derived else ("here",)
        with pytest.raises(InvalidInput, match=f"{name} has no such option(.|\n)*Did you mean colour\\?"):
            call(*given, color="red")
    with pytest.raises(InvalidInput, match=r"Did you mean label\?"):
        draw("here", lable="a")
    with pytest.raises(InvalidInput) as caught:
        draw("here", xyzzy=1)
    assert "Did you mean" not in str(caught.value)


def test_values_are_checked_by_their_fields():
    assert draw("here", sides=["right", "left", "right"]).sides == ("left", "right")
    for wrong in ({"sides": ()}, {"sides": "left"}, {"sides": ["up"]}, {"dashed": "no"}, {"dashed": 1}):
        with pytest.raises(InvalidInput):
            draw("here", **wrong)
    with pytest.raises(InvalidInput, match=r"Unknown colour(.|\n)*red \| green(.|\n)*Did you mean green\?"):
        draw("here", colour="gren")


def test_the_part_of_a_base():
    assert part_of(Derived(colour="green", dashed=True), Base) == Base(colour="green")
    assert [field.name for field in option_fields(Derived)] == ["sides", "dashed", "colour", "size"]


@pytest.mark.parametrize("name", OPTIONS)
def test_whatever_measures_takes_and_shows_every_option(name):
    default = OPTIONS[name].default
    for call in (measure, StiffnessCallback, measure_in_parts, RunSpec):
        assert inspect.signature(call).parameters[name].default == default
        assert f"    {name}: " in inspect.getdoc(call)
    in_gradients = name in {field.name for field in fields(GradientOptions)}
    for call in (per_example_gradients, explain, tfstiff.finite_step_stiffness):
        assert name == "per_layer" or (name in inspect.signature(call).parameters) == in_gradients
    in_products = name in {field.name for field in fields(ProductOptions)}
    assert name == "per_layer" or (name in inspect.signature(gradient_gram).parameters) == in_products
    for command in ("run", "measure", "sweep"):
        (found,) = [one for one in main.get_command(None, command).params if one.name == name]
        assert found.opts == [f"--{name.replace('_', '-')}"]


def test_every_setting_is_an_option_of_run_and_an_axis_of_a_sweep():
    for command in ("run", "sweep"):
        options = {one.name: one.opts for one in main.get_command(None, command).params}
        for field in fields(RunSpec):
            assert options[field.name] == [f"--{flag_of(field)}"]
    assert flag_of(RunSpec.__dataclass_fields__["learning_rate"]) == "lr"


X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = np.arange(12) % 2
PROBE = Probe.from_arrays(train=(X, Y), validation=(X, Y), size=None)


def model():
    network = keras.Sequential([keras.layers.Dense(2)])
    network.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return network


@pytest.mark.parametrize(
    "wrong",
    [
        {"distance": "l3"},
        {"distance_pairs": "some"},
        {"distance_bins": "equal"},
        {"critical_length_method": "cubic"},
        {"critical_length_metric": "cos"},
        {"method": "loops"},
        {"precision": "float16"},
        {"preconditioner": "adam"},
        {"pair_sets": ("val_train",)},
        {"groups": "missing.json"},
        {"critical_length_method": "fixed_effects", "distance_pairs": "all"},
    ],
)
def test_whatever_takes_options_says_the_same_of_a_wrong_one(wrong, tmp_path):
    messages = []
    for call in (
        lambda: measure(model(), PROBE, **wrong),
        lambda: StiffnessCallback(PROBE, **wrong),
        lambda: RunSpec(**wrong),
        lambda: MeasureOptions(**wrong),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        messages.append(str(caught.value))
    texts = [
        text
        for name, value in wrong.items()
        for text in (f"--{name.replace('_', '-')}", value if isinstance(value, str) else ",".join(value))
    ]
    (tmp_path / "model.keras").write_bytes(b"")
    for command in (["run"], ["sweep", "--dry-run"], ["measure", str(tmp_path), "--dataset", "mnist"]):
        found = CliRunner().invoke(main, [*command, *texts])
        assert found.exit_code == 2
        messages.append(found.stderr.removeprefix("Error: ").rstrip())
    assert len(set(messages)) == 1, messages


def test_a_misspelt_option_of_measure_says_which_was_meant():
    for call in (
        lambda: measure(model(), PROBE, distnace="l1"),
        lambda: StiffnessCallback(PROBE, distnace="l1"),
        lambda: RunSpec(distnace="l1"),
        lambda: RunSpec.from_preset("v1", distnace="l1"),
    ):
        with pytest.raises(InvalidInput, match=r"Did you mean distance\?"):
            call()
    with pytest.raises(InvalidInput, match=r"Did you mean log_dir\?"):
        StiffnessCallback(PROBE, log_dri="runs/mine")
    with pytest.raises(InvalidInput, match=r"Did you mean precision\?"):
        gradient_gram(model(), X, Y, precison="float64")


def test_options_hold_groups_as_they_were_read(tmp_path):
    (tmp_path / "groups.json").write_text('{"a": ["0"], "b": ["1"]}')
    options = MeasureOptions(groups=str(tmp_path / "groups.json"))
    (tmp_path / "groups.json").unlink()
    assert options.groups == {"a": ["0"], "b": ["1"]}
    assert MeasureOptions(groups=None).groups == "none"
    assert MeasureOptions(groups="cifar10").groups == "cifar10"
