"""The report's section on single examples: lists of those to look at, each example with what it looks like."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfstiff.analysis.example_lists import ExampleList
from tfstiff.analysis.examples_to_look_at import examples_to_look_at
from tfstiff.errors import RecordCorrupt, Unavailable
from tfstiff.records import RunFolder
from tfstiff.records.words import ABSENT, moment, number

SHOWN = 8  # of each list
_TEXT_LENGTH = 200
_NUM_VALUES = 8
_SMALLEST_IMAGE = 4  # pixels across
_RANKED_BY = {
    "fight": ("cosine_own", "mean cosine with its class"),
    "label": ("cosine_closest_less_own", "mean cosine with {closest_class} less that with its own class"),
    "helpful": ("cosine_mean", "mean cosine"),
}


class ExampleCard(NamedTuple):
    """One example, or a pair of near duplicates.

    Attributes:
        pictures: `data:` addresses of its image, or of both images; empty where there is none.
        contents: Its text, or values, where it is no image.
        title: Its id.
        lines: What is told of it.
        is_certain: Whether it is told apart past its error, or is counted in the list's sentence.
    """

    pictures: list[str]
    contents: list[str]
    title: str
    lines: list[str]
    is_certain: bool


class CardList(NamedTuple):
    """A list of examples: its title, what was found, and the first of them."""

    title: str
    sentence: str
    cards: list[ExampleCard]


class ExampleSection(NamedTuple):
    """Of which examples at which moment, and the lists."""

    about: str
    lists: list[CardList]


def example_section(run: RunFolder, *, with_inputs: bool = True) -> ExampleSection | None:
    """The section on training examples at the last measurement; None where a run says nothing of single examples.

    Args:
        run: With at least one measurement.
        with_inputs: Whether examples are shown: images as thumbnails, texts, or values.
    """
    try:
        probe = run.probe
    except RecordCorrupt:  # the warnings of the report name it
        probe = {}
    try:
        examples, lists = examples_to_look_at(run.measurements, probe)
    except Unavailable:
        return None
    inputs = probe.get(f"{examples.half}_x") if with_inputs else None
    about = f"Of the training half of the probe, at the last measurement, {moment(run.measurements[-1])}."
    if with_inputs and inputs is None:
        about += " The run kept no inputs to show."
    return ExampleSection(about, [_cards(one, inputs) for one in lists])


def _cards(found: ExampleList, inputs: np.ndarray | None) -> CardList:
    cards = []
    for row in found.rows[:SHOWN]:
        places = [row["place"], *([row["other_place"]] if "other_place" in row else [])]
        pictures, contents = _shown([] if inputs is None else [inputs[place] for place in places])
        title = f"{row['id']} and {row['other_id']}" if "other_id" in row else str(row["id"])
        cards.append(
            ExampleCard(
                pictures,
                contents,
                title,
                _lines(found.name, row),
                bool(row.get("is_certain", True) or row.get("is_unusual")),
            )
        )
    return CardList(found.title, found.sentence, cards)


def _lines(name: str, row: Mapping[str, Any]) -> list[str]:
    label, predicted, other = row.get("class"), row.get("predicted"), row.get("other_class")
    lines = []
    if label is not None:
        lines.append(f"class {label}" + (f" and {other}" if other is not None else ""))
    if predicted is not None and other is None:
        lines.append(f"predicted {predicted}")
    if "el2n" in row:
        lines.append(f"EL2N {number(row['el2n'])}")
    if name in _RANKED_BY:
        column, words = _RANKED_BY[name]
        lines.append(f"{words.format_map(row)} {number(row[column])}, standard error {number(row[f'{column}_se'])}")
    elif name == "duplicates":
        lines.append(f"cosine of the gradients {number(row['cosine'])}, 1 − cos of the inputs {row['distance']:.2g}")
    else:
        times = row["times_forgotten"]
        lines.append(
            f"forgotten {'once' if times == 1 else f'{times} times'}, {'right' if row['is_right'] else 'wrong'} now"
        )
    if "loss" in row:
        lines.append(f"loss {number(row['loss'])}")
    return lines


def _shown(inputs: Sequence[np.ndarray]) -> tuple[list[str], list[str]]:
    """Pictures, or texts, of examples."""
    if inputs and inputs[0].dtype.kind != "U" and _is_image(inputs[0].shape):
        return [_picture(one) for one in inputs], []
    return [], [_in_words(one) for one in inputs]


def _is_image(shape: tuple[int, ...]) -> bool:
    is_grid = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    return is_grid and min(shape[:2]) >= _SMALLEST_IMAGE


def _picture(image: np.ndarray) -> str:
    """A `data:` address of a PNG, from black for the smallest value of the image to white for its largest."""
    from matplotlib.image import imsave  # not above: matplotlib takes half a second

    values = image.astype(np.float64)
    values = np.where(np.isfinite(values), values, 0)
    if image.dtype != np.uint8:
        low, extent = values.min(), np.ptp(values)
        values = (values - low) / extent * 255 if extent else np.zeros_like(values)
    values = values.astype(np.uint8)
    if values.ndim == 2 or values.shape[2] == 1:
        values = np.repeat(values.reshape(*values.shape[:2], 1), 3, axis=2)
    file = io.BytesIO()
    imsave(file, values, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _in_words(example: np.ndarray) -> str:
    if example.dtype.kind == "U":
        text = " ".join(example.ravel().tolist())
        return text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"
    values = example.ravel()
    shown = ", ".join(number(float(value)) for value in values[:_NUM_VALUES])
    return (shown or ABSENT) + (f", … ({values.size} values)" if values.size > _NUM_VALUES else "")
