"""Every command that stands anywhere in the docs has the options that it is given."""

import re
import shlex

import click
import pytest
from pages import DOCS, ROOT
from tfstiff_cli import main

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
_ENDS = re.compile(r"\s(#|\||&&|&|>|;)\s.*$")


def commands(path):
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = re.findall(r"^\s*(tfstiff .*)$", text, re.MULTILINE)
    inline = re.findall(r"`(tfstiff [a-z]+ [^`]*)`", text.replace("\n", " "))
    return [_ENDS.sub("", command) for command in [*fenced, *inline] if "…" not in command]


def parsed(command):
    """Reads the arguments as the command would, and does nothing."""
    group, arguments = main, shlex.split(command)[1:]
    with click.Context(main, **main.context_settings) as parent:
        while isinstance(group, click.Group):
            name = arguments.pop(0)
            group = group.get_command(parent, name)
            assert group is not None, f"there is no command {name}"
        group.make_context(name, arguments, parent=parent)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_have_the_options_that_they_are_given(path):
    for command in commands(path):
        try:
            parsed(command)
        except click.exceptions.Exit:  # --help, --version, --list
            continue
        except click.ClickException as error:
            if "does not exist" not in error.format_message():  # a file that the page tells of
                pytest.fail(f"{command}\n{error.format_message()}")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text.replace("\n", " ")):
        if target.startswith("http"):
            continue
        place, _, anchor = target.partition("#")
        other = (path.parent / place).resolve() if place else path
        assert other.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(other), f"{other.name} has no heading #{anchor}"


def anchors(path):
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_a_wrong_option_is_found():
    with pytest.raises(click.ClickException):
        parsed("tfstiff run --no-such-option 3")
