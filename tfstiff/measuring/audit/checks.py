"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfstiff.errors import TfstiffError, UnsupportedModel
from tfstiff.measuring.audit.subject import Subject

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


@dataclass(frozen=True)
class Found:
    """What a check found.

    Attributes:
        result: `passed`, `failed` or `not applicable`.
        text: What was found; of a failure its cause, with the number and the bound.
        remedy: What to do about a failure.
    """

    result: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A check of an audit, carried out.

    Attributes:
        name: Of the check.
        question: What it asks.
        result: `passed`, `failed` or `not applicable`.
        text: What was found; of a failure its cause, with the number and the bound.
        remedy: What to do about a failure; empty where there is nothing to do.
    """

    name: str
    question: str
    result: str
    text: str
    remedy: str = ""


class CheckFunction(NamedTuple):
    """A check as it is defined."""

    name: str
    question: str
    function: Callable[[Subject], Found]

    def __call__(self, subject: Subject) -> Check:
        """Carries it out. What the model raises is what was found."""
        try:
            found = self.function(subject)
        except UnsupportedModel as error:
            found = not_applicable(f"The model is refused: {error.what}")
        except TfstiffError as error:
            found = failed(error.what, error.remedy or "")
        except Exception as error:  # of any kind: it is the model's author's code that is called
            found = failed(f"The model fails where this is tried, with {type(error).__name__}: {first_line(error)}")
        return Check(self.name, self.question, found.result, found.text, found.remedy)


def check(name: str, question: str) -> Callable[[Callable[[Subject], Found]], CheckFunction]:
    """Decorator: makes a check of a function."""

    def made(function: Callable[[Subject], Found]) -> CheckFunction:
        return CheckFunction(name, question, function)

    return made


def passed(text: str) -> Found:
    """Nothing is wrong."""
    return Found(PASSED, text)


def failed(text: str, remedy: str = "") -> Found:
    """Something is wrong."""
    return Found(FAILED, text, remedy)


def not_applicable(text: str) -> Found:
    """The question does not arise, or cannot be answered."""
    return Found(NOT_APPLICABLE, text)


def first_line(error: Any) -> str:
    """What an error says, in a line."""
    return next(iter(str(error).strip().splitlines()), "")
