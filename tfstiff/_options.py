"""Options as fields of frozen dataclasses: the name, default, choices and help of each stand in one place.

The signatures and docstrings of the functions that take them, the command line and the reference are made from these
fields.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import numbers
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from tfstiff.errors import InvalidInput, unknown_name

_Class = TypeVar("_Class", bound=type)
_Options = TypeVar("_Options")
_Callable = TypeVar("_Callable", bound=Callable[..., Any])
_WIDTH = 120
DATA, MODEL, MEASURED, STOPPING, RUNNING = GROUPS = (
    "Data",
    "Model and training",
    "What is measured",
    "Stopping",
    "Running",
)
# The entry of a docstring in whose place those of the options are put.
_PLACEHOLDER = re.compile(r"^(?P<indent> +)\*\*options:.*\n?(?:(?P=indent) +\S.*\n?)*", re.MULTILINE)


def option(default: Any, help: str, *, group: str = MEASURED, **more: Any) -> Any:
    """A field of an option class.

    Args:
        default: Its default.
        help: What it says, in sentences for Python and the command line alike, without default and choices.
        group: Where `--help-all` shows it: one of `GROUPS`.
        **more: `choices`: the texts that it may be. `several`: whether it is some of them. `unset`: what None means,
            in words. For the command line: `flag`, its name where that is another, without dashes; `metavar`; `parse`,
            which makes a value of a text, and raises ValueError; `has_commas`: whether commas may be part of one
            value; `flag_value`: the text that stands for the option without a value.
    """
    return dataclasses.field(default=default, metadata={"help": help, "group": group, **more})


def option_class(cls: _Class) -> _Class:
    """Completes a dataclass of options: an unknown name says which was meant, and the docstring lists the fields."""
    cls.__init__ = _strict(cls.__init__, inspect.signature(cls.__init__), cls.__name__)  # type: ignore[misc]
    cls.__doc__ = documented(cls.__doc__, cls)
    return cls


def takes(options: type) -> Callable[[_Callable], _Callable]:
    """Completes a function, or a class, with `**options`: its signature and docstring show the fields of `options`.

    An unknown keyword says which was probably meant.
    """

    def completed(taker: Any) -> Any:
        function = vars(taker)["__init__"] if isinstance(taker, type) else taker
        strict = _strict(function, _with_fields(inspect.signature(function), options), taker.__name__)
        if isinstance(taker, type):
            taker.__init__ = strict  # type: ignore[misc]
        found = taker if isinstance(taker, type) else strict
        found.__doc__ = documented(found.__doc__, options)
        return found

    return completed


def strict(function: _Callable) -> _Callable:
    """A function of which an unknown keyword says which was probably meant."""
    return _strict(function, inspect.signature(function), function.__name__)


def option_fields(options: Any) -> list[dataclasses.Field[Any]]:
    """The fields of an option class, its own before those of its bases."""
    places = {
        name: place
        for place, base in reversed(list(enumerate(options.__mro__)))
        for name in inspect.get_annotations(base)
    }
    return sorted(dataclasses.fields(options), key=lambda field: places[field.name])


def part_of(options: Any, base: type[_Options]) -> _Options:
    """The options that a base class has, as one of that class."""
    return base(**{field.name: getattr(options, field.name) for field in dataclasses.fields(base)})  # type: ignore[arg-type]


def check_fields(options: Any) -> None:
    """Checks that each field is one of its choices, or of its type; brings lists of choices into their order.

    Raises:
        InvalidInput: One is not.
    """
    for field in dataclasses.fields(options):
        value, choices = getattr(options, field.name), field.metadata.get("choices")
        if choices and field.metadata.get("several"):
            object.__setattr__(options, field.name, _some_of(field, value, choices))
        elif choices and value not in choices:
            raise unknown_name(f"Unknown {_in_words(field.name)}.", value, choices)
        elif field.type in (bool, "bool") and not isinstance(value, bool):
            raise InvalidInput(f"{field.name} is either true or false.", expected="True or False", received=value)
        else:
            _check_kind(field, value)


def _check_kind(field: dataclasses.Field[Any], value: Any) -> None:
    """Checks a value against a field's type, as far as that is plain; it may come from a file of anybody's."""
    kinds = str(field.type).split(" | ")
    if all(kind in _KINDS for kind in kinds) and not any(_KINDS[kind][1](value) for kind in kinds):
        expected = " or ".join(_KINDS[kind][0] for kind in kinds)
        raise InvalidInput(f"The {_in_words(field.name)} is of the wrong kind.", expected=expected, received=value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _all_of(is_one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(is_one, value))


# By the text of a type: what it is in words, and whether a value is one.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "None": ("nothing", lambda value: value is None),
    "str": ("a text", lambda value: isinstance(value, str)),
    "int": ("a whole number", _is_whole),
    "float": ("a number", _is_number),
    "tuple[int, int]": ("two whole numbers", lambda value: _all_of(_is_whole)(value) and len(value) == 2),
    "tuple[int, ...]": ("whole numbers", _all_of(_is_whole)),
    "tuple[float, ...]": ("numbers", lambda value: _is_number(value) or _all_of(_is_number)(value)),
}


def documented(docstring: str | None, options: Any) -> str | None:
    """A docstring with entries of the options in place of `**options: …`."""

    def entries(found: re.Match[str]) -> str:
        return "".join(f"{_wrapped(text, found['indent'])}\n" for text in map(_entry, option_fields(options)))

    return docstring and _PLACEHOLDER.sub(entries, docstring, count=1)


def _entry(field: dataclasses.Field[Any]) -> str:
    text, choices = field.metadata["help"], field.metadata.get("choices")
    if choices:
        names = [f'`"{choice}"`' for choice in choices]
        text += f" {'Some' if field.metadata.get('several') else 'One'} of {', '.join(names[:-1])} and {names[-1]}."
    if unset := field.metadata.get("unset"):
        text += f" None means {unset}."
    return f"{field.name}: {text}"


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _with_fields(signature: inspect.Signature, options: Any) -> inspect.Signature:
    """The signature with a keyword for each option in place of `**options`."""
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    fields = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in option_fields(options)
    ]
    return signature.replace(parameters=[*own, *fields])


def _strict(function: Any, signature: inspect.Signature, name: str) -> Any:
    """The function, of which an unknown keyword says which was probably meant."""
    known = [
        one.name for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD and one.name != "self"
    ]

    @functools.wraps(function)
    def called(*args: Any, **given: Any) -> Any:
        check_names(f"{name} has no such option.", given, known)
        return function(*args, **given)

    called.__signature__ = signature  # type: ignore[attr-defined]
    return called


def check_names(what: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Checks that names are known.

    Raises:
        InvalidInput: One is not; it says which was probably meant.
    """
    for name in given:
        if name not in known:
            raise unknown_name(what, name, known)


def _some_of(field: dataclasses.Field[Any], values: Any, choices: Sequence[str]) -> tuple[str, ...]:
    """Some of `choices`, in their order; none only where that is the default."""
    is_list = isinstance(values, list | tuple) and (len(values) > 0 or not field.default)
    if not is_list or not all(value in choices for value in values):
        raise InvalidInput(
            f"The {_in_words(field.name)} cannot be used.",
            expected=f"one or several of {', '.join(choices)}",
            received=values,
        )
    return tuple(choice for choice in choices if choice in values)


def _in_words(name: str) -> str:
    return name.replace("_", " ")
