"""Texts of iptables-save and nft list ruleset as blocks, {"table chain" or "kind name": lines}, to compare two of them.

Left out: the packets that policies counted, and comments after #."""

import re

# Whatever dispatches to Services is written in the order of a Go map, which differs from sync to sync.
UNORDERED = re.compile(r".*KUBE-(SERVICES|NODEPORTS|EXTERNAL-SERVICES|PROXY-FIREWALL)$")
# Who came first, kubelet, an earlier kube-proxy or this one, decides where this jump stands among the others.
ANYWHERE = re.compile(r"-A (INPUT|OUTPUT) -j KUBE-FIREWALL$")


def blocks(text: str) -> dict[str, list[str]]:
    return _nft(text) if text.startswith("table ") else _iptables(text)


def _iptables(text: str) -> dict[str, list[str]]:
    found, table = {}, ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found[f"{table} {line[1:].split()[0]}"] = []
        elif line.startswith("-A "):
            found[f"{table} {line.split()[1]}"].append(line)
        else:
            assert line in ("", "COMMIT") or line.startswith("#"), line
    return found


def _nft(text: str) -> dict[str, list[str]]:
    """Elements of sets and maps are a line each, "element ..."."""
    assert text.count("\n}") == 1, "one table"
    found, own = {}, []
    for block in re.split(r"(?<=\t})\n+", text.replace("\n}\n", "")):
        if block.startswith("table "):
            head, comment, block = block.split("\n", 2)
            found[head] = [comment.strip()]
        if block.strip():
            head, *body = block.strip().removesuffix("\n\t}").split("\n")
            own = found[head.strip().removesuffix(" {")] = []
            lines = re.sub(r"\n\t\t\t +", " ", "\n".join(body)).split("\n")
            for line in map(str.strip, lines):
                elements = re.fullmatch(r"elements = { (.*) }", line)
                own += [f"element {e}" for e in elements[1].split(", ")] if elements else [line]
    return found


def comparable(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same with the order taken out where it says nothing."""
    out = {}
    for name, lines in found.items():
        own = sorted(lines) if UNORDERED.match(name) else [x for x in lines if not x.startswith("element ")]
        elements = sorted(x for x in lines if x.startswith("element "))
        out[name] = [x for x in own if not ANYWHERE.match(x)] + elements + [x for x in own if ANYWHERE.match(x)]
    return out
