"""What is imported only where it is needed; one process shows it step by step, the lightest first."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_runs import series, write_run

_DOCS = Path(__file__).parents[1] / "docs"
_TRAINING = {"tensorflow", "keras", "tensorflow_datasets"}
_PREFACE = """
import json, sys
from click.testing import CliRunner
from tfstiff_cli import main
def call(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
"""
_STEPS = {  # name: (what is done, what must not have been imported by its end)
    "help": ("for word in ['--help'], ['--version'], []: CliRunner().invoke(main, word)", {"numpy", "matplotlib"}),
    "package": ("import tfstiff", {"matplotlib"}),
    "specification": ("import tfstiff; tfstiff.RunSpec.from_preset('v1')", {"matplotlib"}),
    "usage": (
        "for words in (['--dataset', 'cifar11'], ['--arch', 'cnm'], ['--epochs', '0'], ['--dataset', 'npz:nowhere'],"
        " ['--schedule', 'log', '--dataset', 'spherical_harmonics:degre=3'], ['--resume', '.']):"
        " assert CliRunner().invoke(main, ['run', *words]).exit_code in (2, 3)",
        {"matplotlib"},
    ),
    "groupings": ("import tfstiff.datasets.groupings", {"matplotlib"}),
    "default data": (
        "import tfstiff.datasets as d; d.catalog(); d.prepare(d.load(d.DEFAULT), train_examples=10)",
        {"matplotlib"},
    ),
    "data list": ("call('data', 'list')", {"matplotlib"}),
    "sweeps": ("import tfstiff_cli.sweep, tfstiff.sweeps.ray_node", {"matplotlib", "ray"}),
    "doctor": ("import tfstiff.runs.installation, tfstiff_cli.doctor", {"matplotlib", "ray"}),
    "compare": ("call('compare', {one!r}, {two!r})", {"matplotlib", "ray"}),
    "report": ("call('report', {one!r})", {"matplotlib", "ray"}),
    "show": ("call('show', {one!r})", {"matplotlib", "ray"}),
    "watch": ("call('watch', {one!r}, '--once')", {"matplotlib", "ray"}),
    "plot": ("call('plot', {one!r}, '--format', 'png')", {"matplotlib.pyplot", "ray"}),
    "export": ("call('export', {one!r}, '--out', {one!r} + '/export')", {"matplotlib.pyplot", "ray"}),
    "reference": (f"sys.path.insert(0, {str(_DOCS)!r}); import make_reference; make_reference.pages()", {"ray"}),
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """{step: what had been imported by its end}, and what the process said of an error."""
    runs = tmp_path_factory.mktemp("runs")
    places = {name: str(write_run(runs / name, series(3, 2)).folder) for name in ("one", "two")}
    heavy = sorted(_TRAINING.union(*(forbidden for _, forbidden in _STEPS.values())))
    program = _PREFACE
    for name, (statement, _) in _STEPS.items():
        program += statement.format(**places) + "\n"
        program += f"print('>', json.dumps([{name!r}, [one for one in {heavy!r} if one in sys.modules]]))\n"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    lines = [json.loads(line[1:]) for line in result.stdout.splitlines() if line.startswith(">")]
    return dict(lines), result.stderr


@pytest.mark.parametrize("name", _STEPS)
def test_it_imports_nothing_that_it_does_not_need(imported, name):
    found, error = imported
    assert name in found, error
    assert not (_TRAINING | _STEPS[name][1]) & set(found[name])
