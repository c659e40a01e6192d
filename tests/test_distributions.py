"""The source distribution and the wheel made of it: the same each time, whole, and what they install works."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_WRITTEN = {"PKG-INFO", "setup.cfg"}  # by setuptools; it adds a section to the second
_OF_THE_HOST = (".github/", ".gitignore")


def tracked():
    """The files of this commit, with what was changed in them since."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("This is no Git repository: which files belong to it is not known.")
    return [name for name in done.stdout.split("\0") if (ROOT / name).is_file() and name]


def built(folder, *, moment, mode):
    """(source distribution, wheel) of a copy of the repository whose files have this time and mode."""
    source = folder / "source"
    for name in tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        target.chmod(mode)
        os.utime(target, (moment, moment))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHONPATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    pytest.importorskip("build", reason="build is not installed: pip install 'tfstiff[test]'")
    return built(tmp_path_factory.mktemp("one"), moment=1_600_000_000, mode=0o644)


def test_both_are_the_same_when_they_are_built_again(distributions, tmp_path):
    again = built(tmp_path, moment=1_650_000_000, mode=0o600)
    for one, other in zip(distributions, again, strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes(), f"{one.name} is not the same"


def test_the_source_distribution_holds_the_repository(distributions):
    with tarfile.open(distributions[0]) as archive:
        held = {
            member.name.partition("/")[2]: archive.extractfile(member).read() for member in archive if member.isfile()
        }
    held = {name: content for name, content in held.items() if not name.startswith("tfstiff.egg-info/")}
    expected = {name for name in tracked() if not name.startswith(_OF_THE_HOST)}
    assert set(held) == expected | _WRITTEN
    assert [name for name in expected - _WRITTEN if held[name] != (ROOT / name).read_bytes()] == []


def test_the_wheel_holds_the_packages_and_nothing_else(distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = {Path(name).name for name in archive.namelist() if ".dist-info/licenses/" in name}
    packages = {name for name in tracked() if name.startswith(("tfstiff/", "cli/"))}
    assert held == {"tfstiff_" + name if name.startswith("cli/") else name for name in packages}
    assert licences == {"LICENSE", "LICENSE-fashion-mnist.txt"}


def test_what_the_wheel_installs_works(distributions, tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(distributions[1])], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def said(*command):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert said("-m", "tfstiff", "--version").strip().endswith(f"{distributions[1].name.split('-')[1]}")
    script = "from tfstiff import datasets; print(datasets.__file__, len(datasets.load(datasets.DEFAULT).train.x))"
    place, examples = said("-c", script).split()
    assert Path(place).is_relative_to(tmp_path)
    assert int(examples) > 1000
    (command,) = (tmp_path / "site" / "bin").glob("tfstiff*")
    assert "measure" in said(str(command), "--help")
