"""Recordings made again: every case of a name is put to the real thing, and data/recordings/NAME.json written."""

import datetime
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

from ..errors import InputError, NotHere, shown
from ..manifests import DATA
from .cases import Case, cases, tables

SCRIPTS = {"kube-proxy-cost": "bench/cost.py"}  # recorded by a program of the checkout
QUIET = ("picks", "input", "versions", "date", "sources", "requests", "same_pod_twice_in_a_row")  # while recording


def names() -> list[str]:
    """What can be recorded."""
    return [*tables(), *SCRIPTS]


def run(script: str) -> Path:
    """What the `write` of a program in tests/ writes. NotHere outside of a checkout, which alone has it."""
    tests = DATA.parent / "tests"
    if not (tests / script).exists():
        raise NotHere(f"this is done in a checkout of k8slb, by tests/{script}")
    sys.path.append(str(tests))
    return run_path(str(tests / script))["write"]()


def record(name: str, say: Callable[[str], None] = print) -> Path:
    """Ask all of NAME ("netfilter"), or only what begins with NAME ("netfilter/nftables/clusterip-3"), and write it.

    InputError for a name that is not known, NotHere for what this machine lacks; nothing is written then.
    """
    if name in SCRIPTS:
        return run(SCRIPTS[name])
    kind, _, part = name.partition("/")
    asked = {case.name: case for case in cases().values() if f"{case.name}/".startswith(f"{name}/")}
    if not asked:
        known = [n for n in cases() if part and n.startswith(f"{kind}/")][:3] or names()
        raise InputError(f"{shown(name)} is nothing that is recorded", expected="one of " + ", ".join(known))
    if lacking := sorted({case.missing for case in asked.values()} - {""}):
        raise NotHere("; ".join(lacking))
    path = DATA / f"recordings/{kind}.json"
    before = json.loads(path.read_text(encoding="utf-8"))["runs"] if part and path.exists() else {}
    runs = {}
    for one in (one for one in cases() if one.startswith(f"{kind}/")):
        short = one.removeprefix(f"{kind}/")
        if one in asked:
            runs[short] = asked_again(asked[one])
            say(f"{one}: " + ", ".join(f"{k} {v}" for k, v in runs[short].items() if k not in QUIET))
        elif short in before:
            runs[short] = before[short]
    path.write_text(written(about(kind, runs), runs), encoding="utf-8")
    return path


def asked_again(case: Case) -> dict[str, Any]:
    """One run as it is stored."""
    facts, versions = case.put()
    return {**facts, "versions": versions, "date": f"{datetime.date.today()}", "input": dict(case.given)}


def about(kind: str, runs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What is said of all runs of a file."""
    table, dates = tables()[kind], sorted(run["date"] for run in runs.values())
    return {
        "what": table["what"],
        "versions": ", ".join(dict.fromkeys(part for run in runs.values() for part in run["versions"].split(", "))),
        "date": " and ".join(dict.fromkeys((dates[0], dates[-1]))),
        "where": f"{table['where']}; {platform.system()}, {platform.machine()}, {os.cpu_count()} processors",
        "command": f"python -m k8slb.real record {kind}",
        "seed": "of the model and of who asks: 0, unless a run's input names one; what is asked throws its own dice",
        "names": "by whom it was answered/case",
    }


def written(said: dict[str, str], runs: dict[str, dict[str, Any]]) -> str:
    """The text of a file: what is said of all, then a line a run."""
    head = json.dumps(said, ensure_ascii=False, indent=1).replace("\n", "\n ")
    lines = (f"  {json.dumps(name)}: {json.dumps(run, ensure_ascii=False)}" for name, run in runs.items())
    return f'{{\n "about": {head},\n "runs": {{\n' + ",\n".join(lines) + "\n }\n}\n"
