import pytest
from synthetic_runs import series, write_run


@pytest.fixture
def make_run(tmp_path):
    def make(measurements=None, name="run", **options):
        return write_run(tmp_path / name, series(3, 2) if measurements is None else measurements, **options)

    return make
