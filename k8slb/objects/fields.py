"""The types of fields that many kinds share, each with the API server's check."""

from collections.abc import Mapping
from typing import Annotated, Literal

from .checks import Check, address_check, is_cidr, matching, must, within


def _named(pattern: str, what: str, most: int) -> Check:
    expected = f"{what}: lower-case letters, digits, - (at most {most})"
    return matching(rf"(?!.{{{most + 1}}})({pattern})", expected, f"is not {what}")


_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
NO_CIDR = ("{} is not a CIDR", "such as 10.0.0.0/16")
Port = Annotated[int, within(1, 65535)]
OptionalPort = Annotated[int, within(0, 65535)]  # 0 stands for an absent one
Percent = Annotated[int, within(0, 100)]
Count = Annotated[int, within(0, 10**9)]
Name = Annotated[str, _named(SUBDOMAIN, "a DNS subdomain name", 253)]
Label = Annotated[str, _named(_LABEL, "a DNS label", 63)]
PortName = Annotated[str, _named(r"(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?", "a port name", 15)]
Host = Annotated[
    str,
    matching(
        rf"(?!.{{254}})(\*\.)?{SUBDOMAIN}", "a lower-case DNS name, or *.name for one label", "is not a host name"
    ),
    matching(r"(?!\d+(\.\d+){3}$).*", "a DNS name", "is an IP address"),
]
Address = Annotated[str, address_check]
CIDR = Annotated[str, must(is_cidr, *NO_CIDR)]
CIDRs = Annotated[str, must(lambda text: all(map(is_cidr, text.split(","))), *NO_CIDR)]  # "10.0.0.0/16,fd00::/48"
SourceRange = Annotated[str, must(lambda text: is_cidr(text.strip()), *NO_CIDR)]  # the API server trims these
Protocol = Literal["TCP", "UDP", "SCTP"]
Policy = Literal["Cluster", "Local"]
Strings = Mapping[str, str]
