"""The section on single examples: what is told and shown of them."""

import base64
import io

import matplotlib.image
import numpy as np
import pytest
from planted import SIZES, gradients, measured
from synthetic_runs import series, write_run

from tfstiff.report import write_report
from tfstiff.report.examples import SHOWN, example_section

IMAGES = np.random.default_rng(0).random((SIZES[0], 6, 5, 1)).astype(np.float16)


def run_with(folder, inputs=None, **members):
    parts, classes = gradients()
    parts[0][4] = -parts[0][7]
    found = write_run(folder, [measured(parts, classes, gram=True)])
    kept = {} if inputs is None else {"train_x": inputs}
    np.savez(folder / "probe.npz", train_ids=np.array([f"train_{i:05d}" for i in range(SIZES[0])]), **kept, **members)
    return found


def cards(section, title="Fight their own class"):
    (found,) = [one for one in section.lists if one.title == title]
    return found.cards


def pixels(address):
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return matplotlib.image.imread(io.BytesIO(data), format="png")[..., :3]


@pytest.mark.parametrize("channels", [0, 1, 3])
def test_images_are_shown_from_black_to_white(tmp_path, channels):
    images = IMAGES[..., 0] if not channels else np.repeat(IMAGES, channels, axis=3) * np.arange(1, channels + 1)
    first = cards(example_section(run_with(tmp_path / "run", images.astype(np.float16))))[0]
    assert first.title == "train_00004"
    assert first.is_certain
    image = images[4].astype(float).reshape(6, 5, -1)
    expected = (image - image.min()) / np.ptp(image)
    np.testing.assert_allclose(pixels(first.pictures[0]), np.broadcast_to(expected, (6, 5, 3)), atol=1.5 / 255)


def test_bytes_are_shown_as_they_are(tmp_path):
    images = np.random.default_rng(0).integers(50, 90, (SIZES[0], 6, 5, 3)).astype(np.uint8)
    first = cards(example_section(run_with(tmp_path / "run", images)))[0]
    np.testing.assert_allclose(pixels(first.pictures[0]) * 255, images[4], atol=0.5)


def test_texts_and_values(tmp_path):
    texts = np.array([["word " * 3 + str(i)] for i in range(SIZES[0])])
    assert cards(example_section(run_with(tmp_path / "text", texts)))[0].contents == ["word word word 4"]
    rows = np.arange(SIZES[0] * 12).reshape(-1, 12).astype(np.float16)
    (content,) = cards(example_section(run_with(tmp_path / "rows", rows)))[0].contents
    assert content.startswith("48.000, 49.000")
    assert content.endswith("(12 values)")


def test_pairs_show_both(tmp_path):
    images = IMAGES.copy()
    images[4] = images[7]  # alike, and their gradients oppose one another
    (card,) = cards(example_section(run_with(tmp_path / "run", images)), "Near duplicates at odds")
    assert card.title == "train_00004 and train_00007"
    assert len(card.pictures) == 2
    assert card.pictures[0] == card.pictures[1]


def test_without_inputs(tmp_path):
    section = example_section(run_with(tmp_path / "run"))
    assert "kept no inputs" in section.about
    assert all(not card.pictures and not card.contents for found in section.lists for card in found.cards)
    shown = run_with(tmp_path / "shown", IMAGES)
    hidden = example_section(shown, with_inputs=False)
    assert "kept no inputs" not in hidden.about
    assert not cards(hidden)[0].pictures
    assert len(cards(hidden)) == SHOWN


def test_runs_that_say_nothing_of_examples(tmp_path):
    assert example_section(write_run(tmp_path / "run", series(1, 3))) is None


def test_the_page_holds_the_section(tmp_path):
    run = run_with(tmp_path / "run", IMAGES)
    run.folder.joinpath("probe.npz").touch()
    page = write_report(run, interactive=True).read_text("utf-8")
    assert '<section id="examples">' in page
    assert "1 of 36 training examples fights its own class" in page
    assert page.count("data:image/png") >= SHOWN
    plain = write_report(run, interactive=True, thumbnails=False).read_text("utf-8")
    assert "1 of 36 training examples fights its own class" in plain
    assert "data:image/png" not in plain
