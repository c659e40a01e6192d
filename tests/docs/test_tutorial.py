"""Every command and every line of Python of docs/tutorial.md, in order, as a reader would give them."""

import glob
import shlex
import signal

import pytest
from click.testing import CliRunner
from pages import blocks, commands
from tfstiff_cli import main
from tfstiff_cli.progress import PlainProgress

from tfstiff import load_run
from tfstiff.sweeps.trial_process import run_trial

_INTERRUPTED = 130


class InThisProcess:
    """An executor of sweeps that spares each trial the start of a process."""

    def __init__(self, *_, **__):
        pass

    def run(self, sweep, trials, waiting):
        for trial in trials:
            yield trial, run_trial(sweep, trial, "test")


def expanded(command):
    """The arguments of a command, its patterns replaced by what matches, as a shell does."""
    name, *arguments = shlex.split(command)
    assert name == "tfstiff"
    return [found for argument in arguments for found in sorted(glob.glob(argument)) or [argument]]


def interrupt_at_the_second_measurement(patch):
    seen = []

    def measured(self, measurement, seconds):
        seen.append(measurement.step)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGINT)

    patch.setattr(PlainProgress, "measured", measured)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each command printed, by command, after the whole page was followed; and where."""
    handler = signal.getsignal(signal.SIGTERM)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("tutorial"))
        patch.setenv("NO_COLOR", "1")
        patch.setattr("tfstiff_cli.sweep.LocalExecutor", InThisProcess)
        names = {}
        for language, kind, text in blocks("docs/tutorial.md", "sh", "python"):
            if language == "python":
                exec(text, names)
                continue
            for command in commands(text):
                with patch.context() as inner:
                    inner.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)  # `tfstiff plot` does
                    if kind == "interrupted":
                        interrupt_at_the_second_measurement(inner)
                    result = CliRunner().invoke(main, expanded(command))
                expected = _INTERRUPTED if kind == "interrupted" else 0
                assert result.exit_code == expected, f"{command}\n{result.output}"
                found[command] = result.stdout
        yield found
    signal.signal(signal.SIGTERM, handler)


def of(outputs, beginning):
    (found,) = [text for command, text in outputs.items() if command.startswith(beginning)]
    return found


def test_the_tables_on_the_page_are_those_of_its_commands(outputs):
    """All but the digits, which depend on the machine."""
    (page,) = [text for _, _, text in blocks("docs/tutorial.md", "sh") if text.startswith("tfstiff run --epochs 3")]
    assert page.strip() in outputs
    run = of(outputs, "tfstiff run --epochs 3").splitlines()
    assert "cosine" in run[0]
    assert "ξ" in run[1]
    assert [line.split()[0] for line in run[2:4]] == ["0", "0.00958"]
    compared = of(outputs, "tfstiff compare")
    assert "sign between classes, train–validation pairs" in compared
    assert "learning rate 0.0032" in compared


def test_the_commands_leave_what_the_page_says(outputs):
    assert of(outputs, "tfstiff report runs/first").strip() == "runs/first/report.html"
    assert "runs/first/figures/curves.png" in of(outputs, "tfstiff plot runs/first")
    assert "runs/first/export/columns.csv" in of(outputs, "tfstiff export")
    assert "critical_length.png" in of(outputs, "tfstiff plot runs/rates")
    assert load_run("runs/rates/trials/lr0.0032-seed1").status == "completed"


def test_the_interrupted_run_went_on_and_was_measured_again(outputs):
    run = load_run("runs/second")
    assert run.status == "completed"
    assert run.meta["resumed"]
    assert [m.epoch for m in run.measurements] == pytest.approx([0, 0.2, 1, 2], abs=0.01)
    again = load_run("runs/second-l2")
    assert [m.step for m in again.measurements] == [m.step for m in run.measurements]
    for old, new in zip(run.measurements, again.measurements, strict=True):
        assert new["train_val"].sign.between == pytest.approx(old["train_val"].sign.between, abs=1e-3)
        assert new["train_val"].critical_length.distance_max != old["train_val"].critical_length.distance_max
