"""The reference pages: those that are generated are up to date, and the tables of members are those of records."""

import json
import re
import sys

import keras
import numpy as np
import pytest
from pages import DOCS

import tfstiff
from tfstiff.records import write_record

sys.path.insert(0, str(DOCS))
import make_reference

_SAME = {  # what a row "as …" stands for, in this order
    "pair_sets/<pair set>/spaces/<space>/fixed_effects/": "pair_sets/<pair set>/spaces/<space>/critical_length/",
    "pair_sets/<pair set>/sign_disagreement/": "pair_sets/<pair set>/sign/",
    "layers/<layer>/<pair set>/": "pair_sets/<pair set>/",
    "plain/<pair set>/": "pair_sets/<pair set>/",
}
_WHOLE = {"pair_sets/<pair set>/"}  # of which alone it is told where a preconditioner turns signs
_TYPES = {"int": "i", "float": "f", "text": "U", "bool": "b"}


@pytest.mark.parametrize("page", ["cli.md", "api.md"])
def test_the_generated_pages_are_up_to_date(page):
    made = {"cli.md": make_reference.cli_page, "api.md": make_reference.api_page}[page]()
    assert (DOCS / "reference" / page).read_text(encoding="utf-8") == made, "Give `make docs`."


def test_all_public_names_are_in_the_reference():
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^### `tfstiff\.([\w.]+)`$", page, re.MULTILINE))
    homes = {name: f"errors.{name}" for name in ("TfstiffError", "InvalidInput", "UnsupportedModel")}
    homes["Measurement"] = "records.Measurement"
    expected = {homes.get(name, name) for name in tfstiff.__all__} - {"__version__"}
    assert expected <= named


def rows():
    """(pattern of a member's name, type, shape, when it is kept) of every row of the tables."""
    text = (DOCS / "reference" / "records.md").read_text(encoding="utf-8")
    found = []
    for section in text.split("\n### ")[1:]:
        heading, *lines = section.splitlines()
        prefixes = re.findall(r"`([^`]+)`", heading) or [""]
        for line in lines:
            if not line.startswith("| `"):
                continue
            names, kind, _, kept = (cell.strip() for cell in line.strip("|").split("|"))
            for prefix in prefixes:
                found += [(prefix + name, kind, kept) for name in re.findall(r"`([^`]+)`", names)]
    for place, other in _SAME.items():
        found = [row for row in found if row[0] != f"{place}…"] + [
            (place + name.removeprefix(other), kind, kept)
            for name, kind, kept in found
            if name.startswith(other) and not ("sign_disagreement" in name and other in _WHOLE)
        ]
    return [(name, kind, _kept_in(name, kept)) for name, kind, kept in found]


def _kept_in(name, kept):
    further = {"fixed_effects/": "classes", "layers/": "per_layer"}
    further |= {"plain/": "preconditioner", "sign_disagreement/": "preconditioner"}
    return ", ".join([kept, *(when for place, when in further.items() if place in name)])


def _pattern(name):
    parts = re.split("(<[^>]+>)", name)
    return re.compile("".join("[^/]+" if part.startswith("<") else re.escape(part) for part in parts))


def members(measurement, folder):
    """Every member of a record by its name, the scalars among them."""
    write_record(folder / "one.npz", measurement)
    with np.load(folder / "one.npz") as file:
        arrays = {name: file[name] for name in file.files}
    scalars = json.loads(arrays.pop("scalars").item())
    return arrays | {name: np.asarray(value) for name, value in scalars.items()}


def measured(regression=False, **options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(27, 4)).astype("float32")
    y = x[:, :1] if regression else np.arange(27) % 3
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1 if regression else 3)])
    model.compile(loss="mse" if regression else keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    probe = tfstiff.Probe.from_arrays((x[:15], y[:15]), (x[15:], y[15:]), size=None)
    return tfstiff.measure(model, probe, **options)


def _is_kept(kept, name, kind):
    regression, rich, sample = (kind == one for one in ("regression", "rich", "sample"))
    conditions = set(kept.split(", "))
    is_one_half = "train_val" not in name
    return (
        "several outputs" not in conditions  # tests/measuring/test_measure.py has such a model
        and not (regression and conditions & {"classes", "groups"})
        and not (not rich and conditions & {"groups", "keep_gram", "per_layer", "preconditioner", "directions"})
        and not ("one half" in conditions and not is_one_half)
        and not conditions & {"all pairs" if sample else "pairs"}
    )


@pytest.mark.parametrize("kind", ["default", "regression", "rich", "sample"])
def test_the_tables_have_the_members_of_records_with_their_types_and_shapes(kind, tmp_path):
    options = {"groups": {"a": ["0", "1"], "b": ["2"]}, "keep_gram": True, "per_layer": True, "space": "all"}
    options["directions"] = ("weights",)
    options["preconditioner"] = lambda weight: np.ones(weight.shape)
    options = {"rich": options, "sample": {"pairs": 250}}.get(kind, {})
    found = members(measured(kind == "regression", **options), tmp_path)
    patterns = [(_pattern(name), what, kept) for name, what, kept in rows()]
    unused = {pattern: kept for pattern, _, kept in patterns}
    for name, value in found.items():
        matching = [(what, kept, pattern) for pattern, what, kept in patterns if pattern.fullmatch(name)]
        assert len(matching) == 1, f"{name} is in {len(matching)} rows"
        what, kept, pattern = matching[0]
        unused.pop(pattern, None)
        assert _is_kept(kept, name, kind), f"{name} is not kept by the table"
        _check(name, value, what, kind)
    lacking = {pattern.pattern: kept for pattern, kept in unused.items() if _is_kept(kept, "", kind)}
    assert not lacking, f"the table has what the record has not: {lacking}"


def _check(name, value, what, kind):
    word, _, shape = what.partition(" ")
    letter = _TYPES.get(word)
    assert (value.dtype.kind in letter + ("i" if word == "float" else "")) if letter else value.dtype == word, name
    halves = {"train": 15, "validation": 12}
    examples = {"train_train": 15, "train_val": 27, "val_val": 12}
    pair_set = next((one for one in examples if f"/{one}/" in name), "")
    classes = 0 if kind == "regression" else 3
    sizes = {"C": classes, "n": 27, "h": halves.get(name.split("/")[0]), "E": examples.get(pair_set)}
    expected = [size.strip() for size in shape.strip("()").split(",") if size.strip()]
    assert value.ndim == len(expected), name
    for length, size in zip(value.shape, expected, strict=True):
        if size not in ("B", "B + 1", "any"):
            assert length == int(sizes.get(size, size)), f"{name}: {value.shape}"
