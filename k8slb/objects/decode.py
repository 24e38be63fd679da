"""Plain values to typed ones, with the API server's checks, driven by the types' own annotations."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import shown
from .base import Value, made
from .checks import Check, Invalid

Decode = Callable[[Any], Any]
KIND = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a mapping"}


def _wrong(raw: Any, expected: str) -> Invalid:
    kind = KIND.get(type(raw), "a value")
    # only a whole number can be quoted as it was written: 1.10 and y have been read as something else by now
    quoted = f': "{raw}"' if type(raw) is int else ""
    hint = f", in quotes{quoted}" if expected == "text" and isinstance(raw, (int, float)) else ""
    return Invalid(f"must be {expected}{hint}, not {kind} ({shown(raw)})", expected)


def _under(key: str | int, decode: Decode, raw: Any) -> Any:
    try:
        return decode(raw)
    except Invalid as error:
        error.path = (key, *error.path)
        raise


def _plain(kind: type) -> Decode:
    def decode(raw: Any) -> Any:
        if type(raw) is not kind and (kind, type(raw)) != (float, int):
            raise _wrong(raw, KIND[kind])
        return raw

    return decode


def _checked(base: Decode, checks: tuple[Check, ...]) -> Decode:
    def decode(raw: Any) -> Any:
        result = base(raw)
        if result != "":  # an empty text stands for an absent field throughout the API
            for check in checks:
                check(result)
        return result

    return decode


def _one_of(options: tuple[Any, ...]) -> Decode:
    def decode(raw: Any) -> Any:
        if type(raw) is not type(options[0]) or raw not in options:
            raise Invalid(f"{shown(raw)} is not known here", "one of " + ", ".join(str(o) for o in options if o))
        return raw

    return decode


def _list_of(item: Decode) -> Decode:
    def decode(raw: Any) -> Any:
        return tuple(_under(i, item, one) for i, one in enumerate(_list(raw)))

    return decode


def _mapping_of(kind: Any) -> Decode:
    """Of text to `kind`; the API takes null for an empty one."""
    item = decoder(kind)

    def decode(raw: Any) -> Any:
        return {k: kind() if one is None else _under(k, item, one) for k, one in _mapping(raw).items()}

    return decode


def _either(*options: Any) -> Decode:
    """Port | PortName | None, or a number | a percentage: by the type of the plain value."""
    if len(options) == 1:
        return decoder(options[0])
    number, text = map(decoder, options)

    def decode(raw: Any) -> Any:
        if type(raw) not in (int, str):
            raise _wrong(raw, "a whole number or text (a name, a percentage)")
        return text(raw) if type(raw) is str else number(raw)

    return decode


def _object(cls: type) -> Decode:
    hints = get_type_hints(cls, include_extras=True)
    given = [f for f in fields(made(cls)) if f.name not in ("raw", "origin")]
    members = [(f.name, f.name.rstrip("_"), decoder(hints[f.name])) for f in given]  # from_ holds the field "from"
    required = [f.name for f in given if f.default is MISSING and f.default_factory is MISSING]
    check: Check = getattr(cls, "check", lambda value: None)

    def decode(raw: Any) -> Any:
        known, given = {}, _mapping(raw).get
        try:
            for name, key, member in members:
                if (value := given(key)) is not None:  # the API treats null as absent
                    known[name] = member(value)
        except Invalid as error:  # in place of _under, which would take a third longer
            error.path = (key, *error.path)
            raise
        for name in required:
            if name not in known:
                raise Invalid("is missing", "a value: it is required", (name.rstrip("_"),))
        result = cls(**known)
        check(result)
        return result

    return decode


_list, _mapping = _plain(list), _plain(dict)


@cache
def decoder(hint: Any) -> Decode:
    """The function that turns a plain value into `hint`'s type or raises `Invalid`. Made once per type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _checked(decoder(args[0]), args[1:])
    if origin is Literal:
        return _one_of(args)
    if origin in (Union, UnionType):
        return _either(*(o for o in args if o is not NoneType))
    if origin is tuple:
        return _list_of(decoder(args[0]))
    if origin is Mapping:
        return _mapping_of(args[1])
    return _object(hint) if isinstance(hint, type) and issubclass(hint, Value) else _plain(hint)
