"""Whatever bytes a file holds, its reader returns or says in words what is wrong. `benchmarks/fuzzing.py` goes on."""

import contextlib

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from readers import KINDS, edited, readers

from tfstiff.errors import TfstiffError

NAMES = (
    *("record", "config", "meta", "status", "events", "timings", "probe", "claim", "scalars", "checkpoint"),
    *("npz data", "groups.json", "groups.toml", "sweep", "trial state", "part", "weights"),
)
EDITS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.floats(0, 1), st.integers(1, 40), st.integers(0, 255)), min_size=1, max_size=4
)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    found = readers(tmp_path_factory.mktemp("files"))
    assert {*found} == {*NAMES}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_valid_file_is_read(known, name):
    known[name].on(known[name].content)


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(edits=EDITS)
def test_damaged_files_end_in_words(known, name, edits):
    content = edited(known[name].content, edits)
    try:
        known[name].on(content)
    except TfstiffError:
        return
    if name == "checkpoint":
        assert content == known[name].content  # none of it can change unnoticed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"[" * 50_000, b"\xff" * 10, b"null", b"PK\x05\x06" + b"\0" * 18]
)
def test_files_of_something_else(known, name, content):
    with contextlib.suppress(TfstiffError):
        known[name].on(content)
