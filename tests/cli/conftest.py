import pytest


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Room for whole tables; what a narrow terminal shows has tests of its own."""
    monkeypatch.setenv("COLUMNS", "200")
