"""How a measurement is divided so that it stays within its memory."""

import logging

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfstiff.errors import InvalidInput
from tfstiff.gradients import memory
from tfstiff.gradients.memory import MemoryPlan, free_bytes, plan_memory

GB = 10**9


@pytest.fixture(autouse=True)
def blocks(monkeypatch):
    for name, value in {"_FEWEST_ROWS": 250, "_MOST_ROWS": 2000, "_SMALL_BLOCK": 100}.items():
        monkeypatch.setattr(memory, name, value)


def needed(plan, feature_bytes, working_bytes):
    return plan.num_resident * feature_bytes + plan.block_size * (feature_bytes + working_bytes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 10**6), st.integers(1, 10**7), st.integers(0, 10**9), st.integers(0, 10**11))
def test_never_above_the_limit(count, feature_bytes, working_bytes, limit):
    try:
        plan = plan_memory(count, feature_bytes, working_bytes, limit)
    except InvalidInput:
        assert limit < 2 * feature_bytes + working_bytes  # one example held and one computed
        return
    assert plan.num_bytes == needed(plan, feature_bytes, working_bytes) <= limit
    assert 1 <= plan.block_size <= count
    assert plan.num_resident == count or plan.num_resident % plan.block_size == 0
    assert plan.block_size <= plan.num_resident <= count


def test_all_examples_are_held_where_they_fit(caplog):
    with caplog.at_level(logging.INFO, "tfstiff"):
        plan = plan_memory(1000, 10**6, 10**6, 2 * GB)
    assert plan == MemoryPlan(250, 1000, 1500 * 10**6)
    assert "all 1000 examples are kept: at most 1.50 GB" in caplog.text


def test_else_a_part_of_them(caplog):
    with caplog.at_level(logging.INFO, "tfstiff"):
        plan = plan_memory(1000, 10**6, 10**6, GB)
    assert plan == MemoryPlan(100, 800, 10**9)
    assert "800 of 1000 examples are kept at a time" in caplog.text
    assert "at most 1.00 GB" in caplog.text


def test_small_features_come_in_larger_blocks():
    assert plan_memory(10_000, 1000, 1000, GB).block_size == 2000
    assert plan_memory(10_000, 10**6, 0, 100 * GB).block_size == 250
    assert plan_memory(10, 1000, 1000, GB).block_size == 10


def test_smaller_blocks_rather_than_features_computed_again():
    plan = plan_memory(2000, 1000, 10**6, 700 * 10**6)
    assert plan.num_resident == 2000
    assert 250 <= plan.block_size < 2000
    assert plan_memory(2000, 1000, 10**6, 150 * 10**6) == MemoryPlan(100, 2000, 2000 * 1000 + 100 * 1_001_000)


def test_a_limit_that_is_too_small():
    with pytest.raises(InvalidInput, match="memory limit is too small") as error:
        plan_memory(1000, 10**6, 10**6, 2_999_999)
    assert "3,000,000 bytes" in str(error.value)
    assert "memory_limit" in error.value.remedy
    assert plan_memory(1000, 10**6, 10**6, 3_000_000).block_size == 1


def test_half_of_what_is_free_by_default(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 2 * GB)
    assert plan_memory(1000, 10**6, 10**6) == plan_memory(1000, 10**6, 10**6, GB)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Writes the files of a control group, on a machine with 8 GB free."""
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    available = type("Memory", (), {"available": 8 * GB})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)

    def write(**files):
        for name, text in files.items():
            (tmp_path / f"memory.{name}").write_text(text)

    return write


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8 * GB),
        ({"max": f"{6 * GB}\n", "current": f"{5 * GB}\n"}, GB),
        ({"max": f"{60 * GB}\n", "current": f"{5 * GB}\n"}, 8 * GB),
        ({"max": f"{5 * GB}\n", "current": f"{6 * GB}\n"}, 0),
        ({"max": "max\n", "current": f"{5 * GB}\n"}, 8 * GB),
        ({"max": f"{6 * GB}\n"}, 8 * GB),
    ],
)
def test_the_limit_of_a_control_group(machine, files, expected):
    machine(**files)
    assert free_bytes() == expected
