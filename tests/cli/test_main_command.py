import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from tfstiff_cli import main
from tfstiff_cli.grouped_help import GroupedCommand
from tfstiff_cli.main import _COMMANDS

from tfstiff import errors


def tfstiff(*arguments):
    return CliRunner().invoke(main, list(arguments))


def test_help_lists_every_command():
    result = tfstiff("--help")
    assert result.exit_code == 0
    listed = dict(line.split(maxsplit=1) for line in result.stdout.split("Commands:")[1].strip().splitlines())
    assert listed == {name: text for name, (_, text) in _COMMANDS.items()}
    assert tfstiff("-h").stdout == result.stdout


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_has_help(name):
    result = tfstiff(name, "--help")
    assert result.exit_code == 0
    assert f"Usage: main {name}" in result.stdout
    command = main.get_command(click.Context(main), name)
    assert command.name in (name, "command")
    if isinstance(command, GroupedCommand):
        result = tfstiff(name, "--help-all")
        assert result.exit_code == 0
    for option in (parameter for parameter in command.params if isinstance(parameter, click.Option)):
        assert option.opts[0] in result.stdout


@pytest.mark.parametrize("name", ["run", "sweep", "measure"])
def test_help_has_ten_options_and_all_of_them_stand_in_groups(name):
    command = main.get_command(click.Context(main), name)
    short = tfstiff(name, "--help").stdout.split("Options:")[1]
    shown = re.findall(r"^  (--[a-z-]+)", short, re.MULTILINE)
    options = {option.name: option.opts[0] for option in command.params if isinstance(option, click.Option)}
    assert shown == [*(options[one] for one in command.first), "--help-all"]
    assert len(command.first) == 10
    more = len(options) - 11
    assert f"{more} more options: main {name} --help-all" in short
    whole = tfstiff(name, "--help-all").stdout
    titles = [line[:-1] for line in whole.splitlines() if line[:1].isalpha() and line.endswith(":")]
    stopping = ["Stopping"] * (name != "measure")
    assert titles == ["Data", "Model and training", "What is measured", *stopping, "Running", "Help"]
    for option in options.values():
        rows = whole.partition("Data:")[2]
        assert len(re.findall(rf"^  {option}\b(?!-)", rows, re.MULTILINE)) == 1, option
    assert ("--stop-at-loss" in whole.partition("Stopping:")[2].partition("Running:")[0]) == (name != "measure")


def test_python_m_tfstiff():
    done = subprocess.run([sys.executable, "-m", "tfstiff", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: python -m tfstiff ")


@pytest.mark.parametrize("name", [name for name in _COMMANDS if name != "data"])
def test_help_has_examples(name):
    text = tfstiff(name, "--help").stdout
    assert "Examples:" in text
    assert text.split("Examples:")[1].count(f"tfstiff {name}") >= 2


def test_version():
    from importlib.metadata import version

    result = tfstiff("--version")
    assert result.exit_code == 0
    assert version("tfstiff") in result.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["run", "--nonsense"], ["show"]])
def test_wrong_usage(arguments):
    result = tfstiff(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage" in result.stderr


def test_a_misspelt_command_is_told_which_was_meant():
    assert "Did you mean 'run'?" in tfstiff("runn").stderr
    assert "mean" not in tfstiff("nonsense").stderr


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_an_option_that_is_called_as_in_python_is_told_how_it_is_called_here(name):
    result = tfstiff(name, "--learning-rate", "0.1")
    assert result.exit_code == 2
    assert "No such option '--learning-rate'. Did you mean '--lr'?" in result.stderr
    assert "--lr" not in tfstiff(name, "--nonsense").stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.TfstiffError("sorry"), 1),
        (errors.InvalidInput("sorry"), 2),
        (errors.UnsupportedModel("sorry"), 2),
        (errors.RunNotFound("sorry"), 2),
        (errors.DatasetUnavailable("sorry"), 3),
        (errors.DatasetCorrupt("sorry"), 3),
        (errors.RecordCorrupt("sorry"), 3),
        (errors.TrainingDiverged("sorry"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(monkeypatch, error, code):
    def fail(*_):
        raise error

    monkeypatch.setattr("tfstiff_cli.show.open_runs", fail)
    result = tfstiff("show", "somewhere")
    assert result.exit_code == code
    assert result.stdout == ""
    assert ("sorry" if code < 130 else "Interrupted") in result.stderr
    assert "Traceback" not in result.output


def test_messages_say_what_was_wanted_and_how_to_mend_it(monkeypatch):
    def fail(*_):
        raise errors.InvalidInput("This will not do.", expected="a cat", received="dog", remedy="Meow.")

    monkeypatch.setattr("tfstiff_cli.show.open_runs", fail)
    expected = "Error: This will not do.\n  Expected: a cat\n  Received: 'dog'\n  Remedy: Meow.\n"
    assert tfstiff("show", "somewhere").stderr == expected


def test_other_errors_are_not_hidden(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("tfstiff_cli.show.open_runs", fail)
    result = tfstiff("show", "somewhere")
    assert (result.exit_code, type(result.exception)) == (1, ZeroDivisionError)
