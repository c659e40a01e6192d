"""The site of the docs is built from every page, and not where a link leads nowhere."""

import os
import shutil
import subprocess
import sys

import pytest
from pages import DOCS, ROOT

pytest.importorskip("material", reason="MkDocs is not installed: pip install 'tfstiff[docs]'")


def built(root, folder):
    """(status, what was said) of building the site of the repository in `root`."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_page_and_notebook_is_in_the_site(tmp_path):
    status, said = built(ROOT, tmp_path)
    assert status == 0, said
    for page in [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]:
        place = page.relative_to(ROOT).with_suffix("")
        made = tmp_path / (place.parent if place.name == "README" else place) / "index.html"
        assert made.is_file(), f"{page.name} is not in the site"
    assert "```" not in (tmp_path / "docs/how-to/own-model/index.html").read_text("utf-8")  # every block is one
    assert 'href="notebooks/first-look/"' in (tmp_path / "docs/index.html").read_text("utf-8")


def test_a_wrong_link_a_wrong_anchor_and_a_page_outside_the_navigation_fail(tmp_path):
    root = tmp_path / "copy"
    for name in ("docs", "benchmarks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.pyc"))
    for path in [*ROOT.glob("*.md"), ROOT / "mkdocs.yml"]:
        shutil.copy(path, root)
    with (root / "docs" / "tutorial.md").open("a", encoding="utf-8") as page:
        page.write("\n[one](no-such-page.md) [two](statistics.md#no-such-heading)\n")
    (root / "docs" / "left-out.md").write_text("# Left out\n", encoding="utf-8")
    status, said = built(root, tmp_path / "site")
    assert status != 0
    for wrong in ("no-such-page.md", "#no-such-heading", "left-out.md"):
        assert wrong in said, said
