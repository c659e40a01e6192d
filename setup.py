"""Finds the packages; everything else stands in setup.cfg."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["tfstiff*"]), "tfstiff_cli"])
