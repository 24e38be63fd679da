"""The command line. Exit code 0: served, yes; 1: the answer is no; 2: bad input, told on standard error."""

import argparse
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from . import __version__
from .answers import picks as answers_picks
from .balancers import BALANCERS
from .course import lab
from .errors import InputError, K8slbError, shown
from .front import Cluster, load
from .incidents import incident, incidents
from .manifests import MAX_SIZE, read_bounded, table_of, text_of
from .positions import Source


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except K8slbError as error:
        print(f"k8slb: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    """The commands and their options, as data/commands.json has them."""
    table = table_of("commands")
    examples = "\n  ".join(["examples:", *table["examples"]]) + "\n"
    shown = {"epilog": examples, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser("k8slb", description=table["description"], **shown)
    parser.add_argument("--version", action="version", version=f"k8slb {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command in table["commands"].items():
        what = command["help"]
        about = answers_picks.__doc__ if name == "picks" else f"{what[0].upper()}{what[1:]}."
        one = commands.add_parser(name, help=what, description=about, **shown)
        groups: dict[str, Any] = defaultdict(one.add_mutually_exclusive_group)
        for option in (*(o for s in command["shared"] for o in table["options"][s]), *command.get("own", ())):
            told = {k: TYPES[v] if k == "type" else v for k, v in option.items() if k not in ("flags", "one_of")}
            (groups[option["one_of"]] if "one_of" in option else one).add_argument(*option["flags"], **told)
        one.set_defaults(run=RUN[name], **{"max_size": MAX_SIZE} if "manifests" in command["shared"] else {})
    return parser


def _cluster(args: argparse.Namespace) -> Cluster:
    def source(file: str) -> str | Source:
        if file != "-":
            return file
        return Source("<stdin>", text_of(read_bounded(sys.stdin.buffer, args.max_size), "<stdin>"))

    cluster = load([source(f) for f in args.file], max_size=args.max_size)
    for warning in cluster.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return cluster


def _question(args: argparse.Namespace) -> dict[str, Any]:
    headers = {}
    for given in args.header:
        name, colon, value = given.partition(":")
        if not colon:
            raise InputError(f"--header {given!r} has no colon", expected="--header 'Host: myshop.example.com'")
        headers[name.strip()] = value.strip()
    return {"url": args.url, "from_": args.from_, "via": args.via, "method": args.method, "headers": headers}


def _print(args: argparse.Namespace, result: Any, text: str | None = None) -> None:
    print(json.dumps(result.to_dict(), indent=1) if args.output == "json" else text or str(result))


def _trace(args: argparse.Namespace) -> int:
    trace = _cluster(args).trace(**_question(args), seed=args.seed)
    _print(args, trace, str(trace.why()) if args.verbose else None)
    return 0 if trace.answered_well else 1


def _shares(args: argparse.Namespace) -> int:
    shares = _cluster(args).shares(**_question(args))
    _print(args, shares)
    return 0 if shares else 1


def _send(args: argparse.Namespace) -> int:
    asked = {k: getattr(args, k) for k in ("requests", "connections", "rate", "seed", "clients", "behind_nat")}
    asked |= {k: v for k in ("arrivals", "think", "duration") if (v := getattr(args, k)) is not None}
    if hasattr(file := args.arrivals, "read"):
        lines = text_of(read_bounded(file, args.max_size), file.name).splitlines()
        asked["arrivals"] = [_seconds(line, file.name, i) for i, line in enumerate(lines, 1) if line.strip()]
    outcome = _cluster(args).send(**_question(args), **asked)
    if args.csv:
        outcome.table.to_csv(sys.stdout, index=False)
    else:
        _print(args, outcome)
    return 0 if any(outcome.counts("pod").values()) else 1


def _seconds(text: str, file: str, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{shown(text)} is no time", expected="seconds", file=file, line=line) from None


def _rules(args: argparse.Namespace) -> int:
    print(_cluster(args).rules(args.node, args.mode), end="")
    return 0


def _picks(args: argparse.Namespace) -> int:
    if args.list or args.balancer is None:
        named = {name: BALANCERS[name].source for name in sorted(BALANCERS)}
        rows = (f"{name:<28}{source}" for name, source in named.items())
        print(json.dumps(named, indent=1) if args.output == "json" else "\n".join(rows))
        return 0
    keys = args.keys and text_of(read_bounded(args.keys, MAX_SIZE), args.keys.name).splitlines()
    keys = keys if keys is None else [key for key in keys if key.strip()]
    result = answers_picks.picks(args.balancer, args.weights, args.n, args.hold, args.clients, keys, args.seed)
    _print(args, result)
    return 0 if any(result.counts.values()) else 1


def _translate(args: argparse.Namespace) -> int:
    made = _cluster(args).translate(args.gateway_class)
    if args.output == "yaml":
        print(made.yaml, end="")
        print(made, file=sys.stderr)
    else:
        _print(args, made)
    return 1 if made.changes.rows else 0


def _incidents(args: argparse.Namespace) -> int:
    found = [incident(name) for name in ([args.name] if args.name else (row[0] for row in incidents()))]
    if args.output == "yaml":
        print("\n---\n".join(one.yaml.strip() for one in found))
    elif args.output == "json":
        told = [one.to_dict() for one in found]
        print(json.dumps(told[0] if args.name else told, indent=1))
    else:
        print(f"{found[0]}\n\n{found[0].answer}" if args.name else incidents())
    return 0 if not args.name or all(row.agrees for row in found[0].replay()) else 1


def _numbers(text: str) -> dict[str, int]:
    pairs = [part.strip().rpartition("=") for part in text.split(",")]
    numbers = {name: int(number) for name, _, number in pairs if name and re.fullmatch("[0-9]{1,9}", number)}
    if len(numbers) < len(pairs):
        raise argparse.ArgumentTypeError(f"{shown(text)}; expected NAME=NUMBER,NAME=NUMBER, each name once")
    return numbers


def _number_or_each(text: str) -> int | dict[str, int]:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else _numbers(text)


TYPES = {"int": int, "float": float, "file": argparse.FileType("rb"), "numbers": _numbers}
TYPES["number or each"] = _number_or_each
TYPES["how or file"] = lambda text: text if text in ("poisson", "constant") else TYPES["file"](text)
RUN = {"trace": _trace, "shares": _shares, "send": _send, "rules": _rules, "picks": _picks, "translate": _translate}
RUN |= {"incidents": _incidents, "lab": lab.main}
