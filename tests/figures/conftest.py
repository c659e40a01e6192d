import pytest
from synthetic_runs import measurement, series, write_run


@pytest.fixture
def make_run(tmp_path):
    def make(measurements=None, name="run", **options):
        return write_run(tmp_path / name, series(3, 2) if measurements is None else measurements, **options)

    return make


@pytest.fixture
def by_epoch():
    """Measurements at these epochs, 1000 steps each."""

    def make(*epochs):
        last = max(epochs) or 1
        return [measurement(round(epoch * 1000), epoch, epoch / last, num_classes=2) for epoch in epochs]

    return make
