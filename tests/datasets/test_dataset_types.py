import numpy as np
import pytest

from tfstiff.datasets import Examples
from tfstiff.errors import InvalidInput


def examples():
    return Examples(np.arange(12.0).reshape(3, 4), np.array([0, 1, 0]), np.array(["a", "b", "c"]))


def test_lengths_must_agree():
    with pytest.raises(InvalidInput, match="differ in length"):
        Examples(np.zeros((3, 2)), np.zeros(2), np.array(["a", "b", "c"]))


def test_take_keeps_rows_together():
    taken = examples().take(np.array([2, 0]))
    assert taken.ids.tolist() == ["c", "a"]
    assert taken.x[:, 0].tolist() == [8.0, 0.0]
    assert taken.coarse is None


def test_the_digest_depends_on_every_array_and_on_shape():
    base = examples()
    others = [
        Examples(base.x + 1, base.y, base.ids),
        Examples(base.x.reshape(3, 2, 2), base.y, base.ids),
        Examples(base.x.astype(np.float32), base.y, base.ids),
        Examples(base.x, base.y + 1, base.ids),
        Examples(base.x, base.y, np.array(["a", "b", "d"])),
        Examples(base.x, base.y, base.ids, base.y),
    ]
    assert len({base.sha256(), *(other.sha256() for other in others)}) == 7
    assert base.sha256() == examples().sha256()


def test_the_digest_does_not_depend_on_memory_layout_or_byte_order():
    base = examples()
    assert Examples(np.asfortranarray(base.x), base.y, base.ids).sha256() == base.sha256()
    assert Examples(base.x.astype(">f8"), base.y, base.ids).sha256() == base.sha256()
