"""The files that hosts and citation managers read say what the package says."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_citation_is_of_this_version_and_licence():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(\w[\w-]*): *(.+)$", text, re.MULTILINE))
    assert found["version"] == settings["metadata"]["version"]
    assert found["license"] == settings["metadata"]["license"]
    assert found["cff-version"] == "1.2.0"
    assert {"title", "authors:", "message"} <= {*found, *re.findall(r"^authors:", text, re.MULTILINE)}


def jobs(path):
    """The jobs of a workflow by name."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install 'tfstiff[docs]'")
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert found["permissions"] == {"contents": "read"}, "more is given to single jobs"
    return found["jobs"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_use_tagged_actions_and_what_the_repository_has(path):
    targets = re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for job in jobs(path).values():
        for step in job["steps"]:
            if "uses" in step:
                assert re.search(r"@(release/)?v\d+(\.\d+\.\d+)?$", step["uses"])
            script = step.get("run", "")
            assert set(re.findall(r"^make (\S+)", script, re.MULTILINE)) <= set(targets)
            for file in re.findall(r"(?:^|\s)(\.ci/\S+|tests/\S+)", script):
                assert (ROOT / file).is_file()


def test_a_release_is_published_once_it_was_built_and_tried_and_by_no_token():
    release = jobs(ROOT / ".github" / "workflows" / "release.yml")
    publish = release["publish"]
    assert publish["needs"] == "build"
    assert publish["if"] == "github.event_name == 'release'"
    assert publish["permissions"] == {"id-token": "write"}
    assert all("with" not in step or set(step["with"]) == {"name", "path"} for step in publish["steps"])
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    tried = " ".join(step.get("run", "") for step in release["build"]["steps"])
    assert "tests/test_distributions.py" in tried
    assert "pip install dist/*.whl" in tried
