"""How a measurement is divided so that it stays within its memory."""

import logging

import psutil
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfstiff.errors import InvalidInput
from tfstiff.gradients import memory
from tfstiff.gradients.memory import MemoryPlan, free_bytes, plan_memory

GB = 10**9


@pytest.fixture(autouse=True)
def blocks(monkeypatch):
    for name, value in {"_FEWEST_ROWS": 250, "_MOST_ROWS": 2000, "_SMALL_BLOCK": 100, "_UNCOUNTED": 0}.items():
        monkeypatch.setattr(memory, name, value)


def needed(plan, feature_bytes, working_bytes):
    return plan.num_resident * feature_bytes + plan.block_size * (feature_bytes + working_bytes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    *(st.integers(low, high) for low, high in ((1, 10**6), (1, 10**7), (0, 10**9), (0, 10**11), (0, 10**8), (0, 10**5)))
)
def test_never_above_the_limit(count, feature_bytes, working_bytes, limit, sums, quadratic):
    def beside(block_size):
        return sums + quadratic * block_size**2

    try:
        plan = plan_memory(count, feature_bytes, working_bytes, limit, beside)
    except InvalidInput:
        assert limit < 2 * feature_bytes + working_bytes + beside(1)  # one example held and one computed
        return
    assert plan.num_bytes == needed(plan, feature_bytes, working_bytes) + beside(plan.block_size) <= limit
    assert plan.num_spare == limit - plan.num_bytes
    assert 1 <= plan.block_size <= count
    assert plan.num_resident == count or plan.num_resident % plan.block_size == 0
    assert plan.block_size <= plan.num_resident <= count


def test_all_examples_are_held_where_they_fit(caplog):
    with caplog.at_level(logging.INFO, "tfstiff"):
        plan = plan_memory(1000, 10**6, 10**6, 2 * GB)
    assert plan == MemoryPlan(250, 1000, 1500 * 10**6, 500 * 10**6)
    assert "all 1000 examples are kept: at most 1.50 GB" in caplog.text


def test_else_a_part_of_them(caplog):
    with caplog.at_level(logging.INFO, "tfstiff"):
        plan = plan_memory(1000, 10**6, 10**6, GB)
    assert plan == MemoryPlan(100, 800, 10**9, 0)
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
    least = 2000 * 1000 + 100 * 1_001_000
    for more in (0, 1_001_000):  # as large as they may be
        found = plan_memory(2000, 1000, 10**6, least + more)
        assert found == MemoryPlan(100 + more // 1_001_000, 2000, least + more, 0)


def test_a_limit_that_is_too_small():
    with pytest.raises(InvalidInput, match="memory limit is too small") as error:
        plan_memory(1000, 10**6, 10**6, 2_999_999)
    assert "3,000,000 bytes" in str(error.value)
    assert "memory_limit" in error.value.remedy
    assert plan_memory(1000, 10**6, 10**6, 3_000_000).block_size == 1


@pytest.mark.parametrize("uncounted", [10**6, 10**9])
def test_room_for_what_is_not_counted(monkeypatch, uncounted):
    """Of a small limit a quarter, and the error names the smallest limit there is."""
    monkeypatch.setattr(memory, "_UNCOUNTED", uncounted)
    with pytest.raises(InvalidInput) as error:
        plan_memory(1000, 10**6, 10**6, 1)
    least = 3 * 10**6 + min(uncounted, 10**6)
    assert f"{least:,} bytes" in str(error.value)
    assert plan_memory(1000, 10**6, 10**6, least).block_size == 1
    with pytest.raises(InvalidInput):
        plan_memory(1000, 10**6, 10**6, least - 1)
    assert plan_memory(1000, 10**6, 10**6, 8 * GB).num_bytes == 1500 * 10**6 + min(uncounted, 2 * GB)


def test_half_of_what_is_free_by_default(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 2 * GB)
    assert plan_memory(1000, 10**6, 10**6) == plan_memory(1000, 10**6, 10**6, GB)


@pytest.mark.parametrize(("limit", "used", "expected"), [(6 * GB, GB, 5 * GB), (60 * GB, GB, 59 * GB), (GB, 2 * GB, 0)])
def test_half_of_what_is_free_on_the_device_that_computes(monkeypatch, limit, used, expected):
    """A GPU's, where there is one; the host has the sums, so that its memory counts too."""
    monkeypatch.setattr(memory, "free_bytes", lambda: 8 * GB)
    assert memory.device_bytes("no such kind") is None
    assert memory.default_limit() == 4 * GB
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0", "GPU:1"] * (kind == "GPU"))
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda device: {"current": used, "peak": limit})
    monkeypatch.setattr(memory, "memory_of_devices", lambda kind: [limit, 70 * GB])
    assert memory.device_bytes() == expected
    assert memory.default_limit() == min(expected, 8 * GB) // 2


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
