"""The command line. Exit code 0: served, yes; 1: the answer is no; 2: bad input, told on standard error."""

import argparse
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import __version__
from .answers import picks as answers_picks
from .answers.fingerprint import fingerprint
from .balancers import BALANCERS
from .course import lab
from .errors import InputError, K8slbError, printable, shown
from .front import Cluster, load
from .incidents import incident, incidents
from .kubectl import written
from .manifests import MAX_SIZE, read_bounded, table_of, text_of
from .positions import Source
from .terminal import Progress, painted


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before we began
            setattr(sys, name, open(os.devnull, "w"))
        with suppress(AttributeError):  # what a terminal cannot show is told by its number
            getattr(sys, name).reconfigure(errors="backslashreplace")
    args = _parser().parse_args(argv)
    try:
        given = [one for value in vars(args).values() for one in (value if isinstance(value, list) else [value])]
        if given.count("-") > 1:
            raise InputError("- stands twice", expected="standard input once, as it can be read once")
        with ExitStack() as stack:
            args.progress = Progress() if args.run is lab.main else stack.enter_context(Progress())
            code = args.run(args)
            sys.stdout.flush()
            return code
    except K8slbError as error:
        print(painted(f"k8slb: {error}", sys.stderr), file=sys.stderr)
        return 2
    except OSError as error:  # of our output: its reader has gone, which is no fault, or a disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
        print(f"k8slb: {printable(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    """The commands and their options, as data/commands.json has them."""
    table = table_of("commands")
    raw = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    first = [command["examples"][0] for command in table["commands"].values()]
    parser = argparse.ArgumentParser("k8slb", description=table["description"], epilog=_examples(first), **raw)
    parser.add_argument("--version", action="version", version=f"k8slb {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command in table["commands"].items():
        what = command["help"]
        about = answers_picks.__doc__ if name == "picks" else f"{what[0].upper()}{what[1:]}."
        one = commands.add_parser(name, help=what, description=about, epilog=_examples(command["examples"]), **raw)
        groups: dict[str, Any] = defaultdict(one.add_mutually_exclusive_group)
        for option in (*(o for s in command["shared"] for o in table["options"][s]), *command.get("own", ())):
            told = {k: TYPES[v] if k == "type" else v for k, v in option.items() if k not in ("flags", "one_of")}
            (groups[option["one_of"]] if "one_of" in option else one).add_argument(*option["flags"], **told)
        one.set_defaults(run=RUN[name], max_size=MAX_SIZE)
    return parser


def _examples(lines: Sequence[str]) -> str:
    return "\n  ".join(["examples:", *lines]) + "\n"


def _source(file: str, max_size: int = MAX_SIZE) -> str | Source:
    """What a path stands for: - is standard input."""
    if file != "-":
        return file
    if sys.stdin is None:
        raise InputError("is closed", expected="the input", file="<stdin>")
    return Source("<stdin>", text_of(read_bounded(sys.stdin.buffer, max_size), "<stdin>"))


def _cluster(args: argparse.Namespace, files: Sequence[str] = ()) -> Cluster:
    args.progress.tell("reading the input")
    sources = [_source(file, args.max_size) for file in files or args.file]
    cluster = load(sources, max_size=args.max_size, progress=args.progress.tell)
    warnings = cluster.warnings
    args.progress.tell("")
    _warn(warnings)
    args.progress.tell("answering")
    return cluster


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(painted(f"warning: {printable(warning)}", sys.stderr), file=sys.stderr)


def _question(args: argparse.Namespace) -> dict[str, Any]:
    headers = {}
    for given in args.header:
        name, colon, value = given.partition(":")
        if not colon:
            raise InputError(f"--header {given!r} has no colon", expected="--header 'Host: myshop.example.com'")
        headers[name.strip()] = value.strip()
    return {"url": args.url, "from_": args.from_, "via": args.via, "method": args.method, "headers": headers}


def _print(args: argparse.Namespace, result: Any, text: str | None = None) -> None:
    """The result in the form asked for: table, json, yaml, or what else it has by that name (markdown, svg, ...)."""
    args.progress.tell("")
    if args.output == "table":
        print(painted(text or str(result)))
    elif args.output == "json":
        print(json.dumps(result.to_dict(), indent=1))
    elif args.output == "yaml":
        print(written(result.to_dict(), unicode=False), end="")
    elif args.output == "text":
        print(painted(result.text))
    elif isinstance(form := getattr(result, args.output), bytes):
        if sys.stdout.isatty():
            raise InputError("a terminal shows no PNG", expected="-o png > FILE.png")
        sys.stdout.buffer.write(form)
    else:  # in UTF-8, whatever the terminal has
        sys.stdout.flush()
        sys.stdout.buffer.write(form.rstrip("\n").encode() + b"\n")


def _trace(args: argparse.Namespace) -> int:
    trace = _cluster(args).trace(**_question(args), seed=args.seed)
    _print(args, trace, str(trace.why()) if args.verbose else None)
    return 0 if trace.answered_well else 1


def _shares(args: argparse.Namespace) -> int:
    cluster, asked = _cluster(args), _question(args)
    shares = cluster.shares(**asked)
    _warn(cluster.trace(**asked).warnings)
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
        args.progress.tell("")
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
    rules = _cluster(args).rules(args.node, args.mode)
    args.progress.tell("")
    print(rules, end="")
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
        args.progress.tell("")
        print(made.yaml, end="")
        print(made, file=sys.stderr)
    else:
        _print(args, made)
    return 1 if made.changes.rows else 0


def _test(args: argparse.Namespace) -> int:
    cluster = _cluster(args)
    args.progress.tell("asking the cases")
    report = cluster.test(_source(args.cases), progress=args.progress.tell)
    if args.junit:
        try:
            Path(args.junit).write_text(report.junit, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", file=args.junit) from None
    _print(args, report)
    return 0 if report.passed else 1


def _diff(args: argparse.Namespace) -> int:
    before = _cluster(args, [args.before])
    after = _cluster(args, [args.after]) if args.after else before
    if not (args.after or args.controller or args.gateway or args.mode):
        expected = "AFTER, or what to change: --controller, --gateway, --mode"
        raise InputError("there is nothing to compare with", expected=expected)
    after = after.with_controller(args.controller) if args.controller else after
    made = after.translate() if args.gateway else None
    after = made.cluster if made else after
    after = after.with_proxy(mode=args.mode) if args.mode else after
    difference = before.diff(after, urls=args.url or (), progress=args.progress.tell)
    if made:
        told = (*(f"not translated: {note}" for note in made.untranslated), *made.left_open)
        difference = replace(difference, notes=(*difference.notes, *told))
    _print(args, difference)
    return 1 if difference else 0


def _fingerprint(args: argparse.Namespace) -> int:
    source, shares = _source(args.counts, args.max_size), None
    if bool(args.file) != bool(args.url):
        raise InputError("-f and --url go together", expected="-f MANIFESTS --url URL")
    if args.url:
        cluster = _cluster(args)
        exact = cluster.shares(args.url).items()
        shares = {(at, at.rpartition(":")[0], cluster.pod_name(at)): share for at, share in exact}
    told = (args.pods, args.nodes, args.weights, args.connections, shares)
    found = fingerprint(source if isinstance(source, Source) else Path(source), *told)
    _print(args, found)
    return 1 if found.refuted else 0


def _explain(args: argparse.Namespace) -> int:
    findings = _cluster(args).explain(progress=args.progress.tell)
    _print(args, findings)
    return 1 if findings.broken else 0


def _draw(args: argparse.Namespace) -> int:
    cluster = _cluster(args)
    asked = _question(args)
    _print(args, cluster.draw(**asked))
    return 0


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


def _names(text: str) -> dict[str, str]:
    pairs = [part.strip().partition("=") for part in text.split(",")]
    names = {pod: node for pod, _, node in pairs if pod and node}
    if len(names) < len(pairs):
        raise argparse.ArgumentTypeError(f"{shown(text)}; expected POD=NODE,POD=NODE, each pod once")
    return names


def _numbers(text: str) -> dict[str, int]:
    pairs = [part.strip().rpartition("=") for part in text.split(",")]
    numbers = {name: int(number) for name, _, number in pairs if name and re.fullmatch("[0-9]{1,9}", number)}
    if len(numbers) < len(pairs):
        raise argparse.ArgumentTypeError(f"{shown(text)}; expected NAME=NUMBER,NAME=NUMBER, each name once")
    return numbers


def _number_or_each(text: str) -> int | dict[str, int]:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else _numbers(text)


TYPES = {"int": int, "float": float, "file": argparse.FileType("rb"), "numbers": _numbers}
TYPES["names"] = _names
TYPES["number or each"] = _number_or_each
TYPES["how or file"] = lambda text: text if text in ("poisson", "constant") else TYPES["file"](text)
RUN = {"trace": _trace, "shares": _shares, "send": _send, "rules": _rules, "picks": _picks, "translate": _translate}
RUN |= {"test": _test, "diff": _diff, "fingerprint": _fingerprint, "explain": _explain, "draw": _draw}
RUN |= {"incidents": _incidents, "lab": lab.main}
