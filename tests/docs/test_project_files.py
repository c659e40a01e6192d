"""The files that hosts and citation managers read say what the package says."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_this_version_and_licence():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(\w[\w-]*): *(.+)$", text, re.MULTILINE))
    assert found["version"] == settings["metadata"]["version"]
    assert found["license"] == settings["metadata"]["license"]
    assert found["cff-version"] == "1.2.0"
    assert {"title", "authors:", "message"} <= {*found, *re.findall(r"^authors:", text, re.MULTILINE)}
