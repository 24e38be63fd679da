"""The command line. Exit code 0: served, yes; 1: the answer is no; 2: bad input, told on standard error."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import __version__
from .course import lab
from .errors import InputError, K8slbError
from .front import Cluster, load
from .manifests import MAX_SIZE, read_bounded, text_of
from .positions import Source

EXAMPLES = """examples:
  k8slb trace  -f shop https://myshop.example.com/payments/process/101
  k8slb trace  -f deploy/ -v http://order-service.default
  kubectl get -A -o json deploy,svc,ingress,nodes | k8slb shares -f - http://order-service.default
  k8slb send   -f shop http://order-service -n 10000 --connections 50
  k8slb lab    open the lessons in JupyterLab
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["lab"]:
        return lab.main(given[1:])
    args = _parser().parse_args(given)
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
    parser = argparse.ArgumentParser(
        prog="k8slb",
        description="Which pod gets this request, and why: Kubernetes load balancing, from your YAML alone.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"k8slb {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    trace = _asking(commands, "trace", "one request's way, hop by hop", _trace)
    trace.add_argument("--seed", type=int, default=0, help="fixes every random pick (default 0)")
    trace.add_argument("-v", "--verbose", action="store_true", help="what was considered, rejected and why")

    _asking(commands, "shares", "the exact share of each pod", _shares)

    send = _asking(commands, "send", "many requests, sampled", _send)
    send.add_argument("-n", "--requests", type=int, default=1000, metavar="N", help="how many (default 1000)")
    send.add_argument(
        "--connections", type=int, metavar="C", help="over so many connections (default: a new one for each)"
    )
    send.add_argument("--rate", type=float, metavar="R", help="requests a second, arriving at random")
    send.add_argument("--seed", type=int, default=0, help="fixes every random pick (default 0)")
    send.add_argument("--csv", action="store_true", help="one row a request, as CSV")

    commands.add_parser("lab", help="open the lessons in JupyterLab", add_help=False)  # reads its own arguments
    return parser


def _asking(commands: Any, name: str, what: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    """A command that asks about a URL in manifests."""
    parser = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        required=True,
        metavar="PATH",
        help="file, folder, - (standard input) or bundled set (shop, source-text); may repeat",
    )
    parser.add_argument("url", metavar="URL", help="http://, https://, tcp:// or udp://")
    parser.add_argument(
        "--from", dest="from_", metavar="WHO", help="external, external:IP, node:NAME or pod:NAMESPACE/NAME"
    )
    parser.add_argument("--via", metavar="NODE", help="put the packet on this node, past every load balancer")
    parser.add_argument("--method", default="GET", metavar="M")
    parser.add_argument(
        "--header", action="append", default=[], metavar="K:V", help="may repeat; Host: NAME sets the host"
    )
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--json", dest="output", action="store_const", const="json", help="short for -o json")
    parser.add_argument(
        "--max-size", type=int, default=MAX_SIZE, metavar="BYTES", help=f"most input to read (default {MAX_SIZE:,})"
    )
    parser.set_defaults(run=run)
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
    outcome = _cluster(args).send(
        **_question(args), requests=args.requests, connections=args.connections, rate=args.rate, seed=args.seed
    )
    if args.csv:
        outcome.table.to_csv(sys.stdout, index=False)
    else:
        _print(args, outcome)
    return 0 if any(outcome.counts("pod").values()) else 1


if __name__ == "__main__":
    sys.exit(main())
