import numpy as np
import pytest
from made_up import example_scores

from tfstiff.errors import InvalidInput, Unavailable
from tfstiff.records import HalfSummary, Measurement, read_record, write_record

NAMES = ("cat", "dog", "cow")


def measurement(scores, names=NAMES, **rest):
    return Measurement(HalfSummary(4, 1.0, 0.5, 0, 0, scores), HalfSummary(2, 1.0, 0.5, 0, 0), {}, names, **rest)


def test_what_is_said_of_own_and_other_classes():
    scores = example_scores(4, 3, classes=[0, 1, 2, 0], halves=("validation",))
    frame = measurement(scores).examples("train")
    assert list(frame["example"]) == [0, 1, 2, 3]
    assert list(frame["class"]) == ["cat", "dog", "cow", "cat"]
    found = scores.stiffness["validation"]
    for i, row in frame.iterrows():
        own = [0, 1, 2, 0][i]
        others = [c for c in range(3) if c != own]
        cosine, error = found.cosine[i].astype(float), found.cosine_se[i].astype(float)
        assert row["cosine_own_validation"] == pytest.approx(cosine[own])
        assert row["sign_own_validation_se"] == pytest.approx(float(found.sign_se[i, own]))
        assert row["cosine_others_validation"] == pytest.approx(cosine[others].mean())
        assert row["cosine_others_validation_se"] == pytest.approx(np.sqrt((error[others] ** 2).sum()) / 2)
        closest, opposed = (others[place] for place in (cosine[others].argmax(), cosine[others].argmin()))
        assert row["closest_class_validation"] == NAMES[closest]
        assert row["cosine_closest_validation"] == pytest.approx(cosine[closest])
        assert row["opposed_class_validation"] == NAMES[opposed]
        assert row["cosine_opposed_validation_se"] == pytest.approx(error[opposed])
    assert not any("train" in column for column in frame.columns)
    assert list(frame["predicted"].fillna("none")) == [NAMES[c] if c >= 0 else "none" for c in scores.predicted]


def test_a_row_an_example_and_class():
    scores = example_scores(4, 3, classes=[0, 1, 2, 0])
    frame = measurement(scores).examples("train", by_class=True)
    assert len(frame) == 4 * 3 * 2
    row = frame[(frame.example == 3) & (frame.with_half == "validation") & (frame.with_class == "dog")].iloc[0]
    assert row["class"] == "cat"
    assert row["cosine"] == scores.stiffness["validation"].cosine[3, 1]
    assert row["sign_se"] == scores.stiffness["validation"].sign_se[3, 1]
    assert row["num_others"] == scores.stiffness["validation"].counts[3, 1]


def test_classes_without_an_example_are_no_other_class():
    scores = example_scores(4, 3, classes=[0, 0, 0, 0], halves=("train",))
    found = scores.stiffness["train"]
    for values in (found.cosine, found.cosine_se, found.sign, found.sign_se):
        values[:, 1] = np.nan
        values[3, 2] = np.nan
    frame = measurement(scores).examples("train")
    assert list(frame["closest_class_train"].fillna("none")) == ["cow", "cow", "cow", "none"]
    np.testing.assert_allclose(frame["cosine_others_train"][:3], found.cosine[:3, 2])
    assert frame["cosine_others_train"].isna().tolist() == [False, False, False, True]


def test_numbers_have_no_classes():
    scores = example_scores(4, 1, halves=("train",))
    frame = measurement(scores, ()).examples("train")
    assert set(frame.columns) >= {"example", "loss", "cosine_all_train", "cosine_all_train_se"}
    assert not any("own" in column or "class" in column for column in frame.columns)
    assert "with_class" not in measurement(scores, ()).examples("train", by_class=True)


def test_what_is_not_there(tmp_path):
    m = measurement(example_scores(4, 3, classes=[0, 1, 2, 0]))
    with pytest.raises(InvalidInput, match=r"Unknown half[\s\S]*train \| validation[\s\S]*'val'"):
        m.examples("val")
    with pytest.raises(Unavailable, match="older versions"):
        m.examples("validation")
    write_record(tmp_path / "one.npz", m)
    read = read_record(tmp_path / "one.npz")
    assert read.examples("train").equals(m.examples("train"))
    light = read_record(tmp_path / "one.npz", with_arrays=False)  # as an older record: members absent
    assert light.train.scores is None
