"""Finds the packages, and writes the source distribution; everything else stands in setup.cfg."""

import gzip
import os
import tarfile
import time

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist


class SourceDistribution(sdist):
    """Writes the same archive to the last bit from the same files, at `SOURCE_DATE_EPOCH`."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        """The files in order of their names, with one time, no owner, and modes that no umask changes."""
        moment = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def plain(member):
            member.mtime = moment
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as file,
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=moment) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(base_dir, filter=plain)
        return path


setup(
    packages=[*find_packages(include=["tfstiff*"]), "tfstiff_cli"],
    cmdclass={"sdist": SourceDistribution},
    options={"sdist": {"formats": "gztar"}},
)
