"""Plain values to typed ones, with the API server's checks, driven by the types' own annotations."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import shown

Path = tuple[str | int, ...]


class Invalid(ValueError):
    """A field the API server would refuse: what is wrong, what was expected, and where (`path`, outermost first)."""

    def __init__(self, problem: str, expected: str = "", path: Path = ()):
        super().__init__(problem)
        self.problem, self.expected, self.path = problem, expected, path


def _matching(pattern: str, what: str, limit: int) -> Callable[[str], None]:
    compiled = re.compile(pattern)

    def check(text: str) -> None:
        if not (len(text) <= limit and compiled.fullmatch(text)):
            raise Invalid(f"{shown(text)} is not {what}", f"{what}: lower-case letters, digits, - (at most {limit})")

    return check


def within(low: int, high: int) -> Callable[[int], None]:
    def check(number: int) -> None:
        if not low <= number <= high:
            raise Invalid(f"{number} is out of range", f"{low} to {high}")

    return check


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(\.{_OCTET}){{3}}")


def address_check(text: str, expected: str = "such as 10.0.0.5", path: Path = ()) -> None:
    if _IPV4.fullmatch(text):  # nearly all of them, and ipaddress takes ten times as long
        return
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise Invalid(f"{shown(text)} is not an IP address", expected, path) from None


def _cidr(text: str) -> None:
    try:
        ipaddress.ip_network(text if text.rpartition("/")[2].isdecimal() and "/" in text else "", strict=False)
    except ValueError:
        raise Invalid(f"{shown(text)} is not a CIDR", "such as 10.0.0.0/16") from None


def _host(text: str) -> None:
    if not (len(text) <= 253 and re.fullmatch(SUBDOMAIN, text.removeprefix("*."))):
        raise Invalid(f"{shown(text)} is not a host name", "a lower-case DNS name, or *.name for one label")
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", text):
        raise Invalid(f"{text} is an IP address", "a DNS name")


_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
Port = Annotated[int, within(1, 65535)]
OptionalPort = Annotated[int, within(0, 65535)]  # 0 stands for an absent one
Name = Annotated[str, _matching(SUBDOMAIN, "a DNS subdomain name", 253)]
Label = Annotated[str, _matching(_LABEL, "a DNS label", 63)]
PortName = Annotated[str, _matching(r"(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?", "a port name", 15)]
Host = Annotated[str, _host]
Address = Annotated[str, address_check]
CIDR = Annotated[str, _cidr]
CIDRs = Annotated[str, lambda text: [_cidr(part) for part in text.split(",")]]  # "10.0.0.0/16,fd00::/48"
SourceRange = Annotated[str, lambda text: _cidr(text.strip())]  # the API server trims these
Protocol = Literal["TCP", "UDP", "SCTP"]
Policy = Literal["Cluster", "Local"]
Strings = Mapping[str, str]
Count = Annotated[int, within(0, 10**9)]


Decode = Callable[[Any], Any]
KIND = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a mapping"}


def _wrong(raw: Any, expected: str, path: Path = ()) -> Invalid:
    kind = KIND.get(type(raw), "a value")
    # only a whole number can be quoted as it was written: 1.10 and y have been read as something else by now
    quoted = f': "{raw}"' if type(raw) is int else ""
    hint = f", in quotes{quoted}" if expected == "text" and isinstance(raw, (int, float)) else ""
    return Invalid(f"must be {expected}{hint}, not {kind} ({shown(raw)})", expected, path)


def _plain(kind: type) -> Decode:
    def decode(raw: Any) -> Any:
        if type(raw) is not kind:
            raise _wrong(raw, KIND[kind])
        return raw

    return decode


def _checked(base: Decode, checks: tuple[Callable[[Any], None], ...]) -> Decode:
    def decode(raw: Any) -> Any:
        result = base(raw)
        if result != "":  # an empty text stands for an absent field throughout the API
            for check in checks:
                check(result)
        return result

    return decode


def _one_of(options: tuple[str, ...]) -> Decode:
    def decode(raw: Any) -> Any:
        if not isinstance(raw, str) or raw not in options:
            raise Invalid(f"{shown(raw)} is not known here", "one of " + ", ".join(o for o in options if o))
        return raw

    return decode


def _list_of(item: Decode) -> Decode:
    def decode(raw: Any) -> Any:
        if type(raw) is not list:
            raise _wrong(raw, "a list")
        out = []
        try:
            for one in raw:
                out.append(item(one))
        except Invalid as error:
            error.path = (len(out), *error.path)
            raise
        return tuple(out)

    return decode


def _strings(raw: Any) -> dict[str, str]:
    if type(raw) is not dict:
        raise _wrong(raw, "a mapping")
    if None in raw.values():
        raw = {k: "" if v is None else v for k, v in raw.items()}
    for key, text in raw.items():
        if type(text) is not str:
            raise _wrong(text, "text", (key,))
    return raw


def _either(*options: Any) -> Decode:
    """Port | PortName | None: by the type of the plain value."""
    if len(options) == 1:
        return decoder(options[0])
    number, text = map(decoder, options)

    def decode(raw: Any) -> Any:
        if type(raw) not in (int, str):
            raise _wrong(raw, "a port number or a port's name")
        return text(raw) if type(raw) is str else number(raw)

    return decode


def _object(cls: type) -> Decode:
    hints = get_type_hints(cls, include_extras=True)
    given = [f for f in fields(cls) if f.name not in ("raw", "origin")]
    members = [(f.name, f.name.rstrip("_"), decoder(hints[f.name])) for f in given]  # from_ holds the field "from"
    required = [f.name for f in given if f.default is MISSING and f.default_factory is MISSING]
    check = getattr(cls, "check", None)

    def decode(raw: Any) -> Any:
        if type(raw) is not dict:
            raise _wrong(raw, "a mapping")
        known = {}
        for name, written, member in members:
            given = raw.get(written)
            if given is not None:  # the API treats null as absent
                try:
                    known[name] = member(given)
                except Invalid as error:
                    error.path = (written, *error.path)
                    raise
        for name in required:
            if name not in known:
                raise Invalid("is missing", "a value: it is required", (name.rstrip("_"),))
        result = cls(**known)
        if check:
            check(result)
        return result

    return decode


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
    if hint == Strings:
        return _strings
    return _object(hint) if is_dataclass(hint) else _plain(hint)
