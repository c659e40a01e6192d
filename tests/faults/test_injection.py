"""A sample of `benchmarks/injection.py`: operations of a run on its disk fail, one at a time."""

from faulty_disk import MODES, Disk
from injected_runs import injected, made_up, specification, undisturbed

_SAMPLE = 7


def test_operations_that_fail_lose_nothing(tmp_path):
    with made_up(is_real=False):
        spec, folder = specification(tmp_path), tmp_path / "run"
        disk = Disk(folder)
        operations, expected = undisturbed(disk, spec, folder)
        kinds = {operation.split()[0] for operation in operations}
        assert {"open", "write", "fsync", "replace", "mkdir", "unlink", "save_weights"} <= kinds
        assert len([name for name in expected if name.startswith("records/")]) == 4
        # The first of each kind and file, then of these every so many, each in one of the ways.
        places = {}
        for place, operation in enumerate(operations):
            kind, path = operation.split(maxsplit=1)
            places.setdefault((kind, path.split("/")[0].split("-")[0]), place)
        chosen = sorted(places.values())[:: max(1, len(places) // _SAMPLE)]
        ended = {
            injected(disk, spec, folder, place, MODES[number % 3], expected) for number, place in enumerate(chosen)
        }
        assert {"completed", "Killed"} <= ended
