"""The Python values that a trace takes in, by which a trace of a model is known to be still of that model.

A trace computes with variables as they are, and with everything else as it was: a layer's activation or rate, a number
that `call` reads, a setting of the loss. What is read is told by the code: the names in `call`, in the methods that it
names and in the functions that it gets hold of. Of the values under these names are seen: numbers and texts, also in
containers and in objects of one's own; small arrays; and of everything else, whether it is the same object. Counters
that other methods keep are not looked at.

Not seen are values that have no name in the code: files, clocks, the environment, large arrays changed in place.
`tfstiff.audit` compares with a new trace (`cache`).
"""

from __future__ import annotations

import enum
import functools
import inspect
import sys
import weakref
import zlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, enum.Enum, range, tf.DType, tf.TensorShape)
_DEEP = 6  # objects within objects
_LONG = 256  # entries of a container
_LARGE = 2**16  # bytes of an array
_BASES = frozenset(keras.Model.__mro__)  # whose own methods keep records of each call
# Read by Keras before it calls `call`.
_ALWAYS = frozenset({"call", "compute_mask", "supports_masking", "_supports_masking", "_dtype_policy", "_autocast"})
_FRAMEWORKS = frozenset({"keras", "tensorflow", "numpy", "tfstiff"})  # whose objects are not looked into
_LIBRARIES = _FRAMEWORKS | sys.stdlib_module_names  # nor these modules' code


class _Same(weakref.ref[Any]):
    """An object that is kept alive by others: equal to itself alone."""

    def __eq__(self, other: object) -> bool:
        mine = self()
        return mine is not None and isinstance(other, _Same) and mine is other()

    __hash__ = None  # type: ignore[assignment]


def taken_in(roots: Iterable[Any]) -> list[Any]:
    """What a trace that enters `roots` takes in of Python's values: equal as long as none of them has changed.

    Nothing is kept alive by it.

    Args:
        roots: Layers, losses, functions.
    """
    return [_Walk().value(root, _ALWAYS) for root in roots]


class _Walk:
    """One way through the values that can be reached from a layer or a function; each object once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def value(self, value: Any, names: frozenset[str], depth: int = 0) -> Any:
        """What there is to compare of a value that is reached from code with these names."""
        if isinstance(value, _PLAIN):
            return type(value).__name__, repr(value)
        if isinstance(value, np.ndarray):
            small = value.nbytes <= _LARGE and not value.dtype.hasobject
            return _same(value), zlib.crc32(np.ascontiguousarray(value).tobytes()) if small else None
        if id(value) in self._seen or depth > _DEEP or (depth and isinstance(value, keras.Layer)):
            return _same(value)  # the layers of a model are looked at each by itself
        self._seen.add(id(value))
        if isinstance(value, Mapping | list | tuple | AbstractSet):
            return self._container(value, names, depth)
        if isinstance(value, MethodType):
            return _same(value.__self__), self.value(value.__func__, names, depth + 1)
        if isinstance(value, functools.partial):
            return self._container((value.func, value.args, value.keywords), names, depth)
        if isinstance(value, FunctionType):
            return self._function(value, depth)
        if isinstance(value, ModuleType):
            return _same(value), None if _root(value.__name__) in _LIBRARIES else self._named(vars(value), names, depth)
        if depth and _root(type(value).__module__) in _FRAMEWORKS:
            return _same(value)
        return self._object(value, names, depth)

    def _container(self, value: Any, names: frozenset[str], depth: int) -> Any:
        if len(value) > _LONG:
            return _same(value), len(value)
        if isinstance(value, Mapping):
            value = [one for pair in value.items() for one in pair]
        elif isinstance(value, AbstractSet):
            value = sorted(value, key=repr)
        return [self.value(one, names, depth + 1) for one in value]

    def _function(self, function: FunctionType, depth: int) -> Any:
        if _root(function.__module__ or "") in _LIBRARIES:
            return _same(function)
        names = _names(function.__code__)
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        held = [*cells, function.__defaults__, function.__kwdefaults__]
        return (
            _same(function),
            _same(function.__code__),
            [self.value(one, names, depth + 1) for one in held],
            self._named(function.__globals__, names, depth),
        )

    def _object(self, value: Any, names: frozenset[str], depth: int) -> Any:
        kind: Any = type(value)
        names, methods = _read_by(kind, names | {"__call__"} if depth else names | _entry(kind))
        attributes = getattr(value, "__dict__", {})
        found = [_same(value), self._named(attributes, names, depth)]
        of_class = {name: one for base in _own(kind)[::-1] for name, one in vars(base).items()}
        constants = {name: one for name, one in of_class.items() if name not in attributes and not callable(one)}
        found.append(self._named(constants, names, depth))
        return [*found, [self.value(method, names, depth + 1) for method in methods]]

    def _named(self, values: Mapping[str, Any], names: frozenset[str], depth: int) -> Any:
        found = {name: values[name] for name in sorted(names & values.keys())}
        # What is None may also not be there yet: layers set so what they keep within a call alone.
        return [(name, self.value(one, names, depth + 1)) for name, one in found.items() if one is not None]


def _entry(kind: type) -> frozenset[str]:
    """The method by which a loss, or another object that is called, is entered."""
    return frozenset() if issubclass(kind, keras.Layer) else frozenset({"__call__"})


def _own(kind: type) -> list[type]:
    """The classes of an object but those that all models are made of."""
    return [base for base in kind.__mro__ if base not in _BASES]


@functools.lru_cache(1024)
def _read_by(kind: type, names: frozenset[str]) -> tuple[frozenset[str], tuple[FunctionType, ...]]:
    """The names in all methods of `kind` that `names` lead to, with these; and these methods."""
    found, waiting, methods = set(names), list(names), []
    while waiting:
        name = waiting.pop()
        for base in _own(kind):
            for function in _functions_of(vars(base).get(name)):
                methods.append(function)
                more = _names(function.__code__) - found
                found |= more
                waiting += more
    methods.sort(key=lambda method: method.__qualname__)
    return frozenset(found), tuple(methods)


def _functions_of(attribute: Any) -> Iterable[FunctionType]:
    """The Python functions of a method or property."""
    if isinstance(attribute, property):
        attribute = attribute.fget
    elif isinstance(attribute, functools.cached_property):
        attribute = attribute.func
    elif isinstance(attribute, classmethod | staticmethod):
        attribute = attribute.__func__
    attribute = inspect.unwrap(attribute) if callable(attribute) else attribute
    return [attribute] if isinstance(attribute, FunctionType) else []


@functools.lru_cache(4096)
def _names(code: CodeType) -> frozenset[str]:
    """All names of globals and attributes that a piece of code, and those within it, read; texts that may be names."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            found.add(constant)
    return frozenset(found)


def _root(module: str) -> str:
    return module.partition(".")[0]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _same(value: Any) -> Any:
    try:
        return _Same(value)
    except TypeError:  # of a kind that cannot be referred to
        return type(value).__name__, id(value)
