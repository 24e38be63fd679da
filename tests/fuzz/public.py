"""Every command on manifest sets that others wrote: python tests/fuzz/public.py FOLDER [--write] [--only WORD].

FOLDER has a folder for each repository (OWNER__NAME), below it the repository's own paths; FILE.provenance.json beside
a file, or provenance.json in a folder above it, says which commit. sets.json names sets that are applied together from
several folders: {NAME: [PATH, ...]}. Otherwise the manifests of one folder are a set, unless they cannot be applied
together (one object twice, or one that the API server refuses): then each file is one. --write makes PUBLIC.md, with
figures only. The sets themselves are no part of this project.
"""

import hashlib
import json
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import k8slb
from k8slb.answers.compare import probes
from k8slb.answers.fingerprint import fingerprint
from k8slb.objects import HTTPRoute, Ingress, Other, Service

ASKED = 120  # URLs of one set
DRAWN = 6
MANIFEST = (".yaml", ".yml", ".json")


class Set(NamedTuple):
    name: str
    files: tuple[Path, ...]


@dataclass
class Told:
    """What the commands said of one set."""

    name: str
    files: tuple[Path, ...]
    objects: int = 0
    aside: Counter = field(default_factory=Counter)
    refused: str = ""
    said: Counter = field(default_factory=Counter)  # command and outcome
    findings: Counter = field(default_factory=Counter)
    where: list[str] = field(default_factory=list)  # the findings in full
    bugs: list[str] = field(default_factory=list)
    asked: int = 0  # URLs
    seconds: float = 0.0


def sets(root: Path) -> Iterator[Set]:
    """The sets below `root`."""
    listed = root / "sets.json"
    together = json.loads(listed.read_text()) if listed.is_file() else {}
    for name, paths in together.items():
        yield Set(name, tuple(root / p for p in paths))
    for folder in sorted({f.parent for f in root.rglob("*") if _is_manifest(f)}):
        files = tuple(sorted(f for f in folder.iterdir() if _is_manifest(f)))
        try:
            apart = bool(k8slb.load([str(f) for f in files]).manifests.warnings)
        except k8slb.K8slbError:
            apart = len(files) > 1
        if apart:
            yield from (Set(str(f.relative_to(root)), (f,)) for f in files)
        else:
            yield Set(str(folder.relative_to(root)) if len(files) > 1 else str(files[0].relative_to(root)), files)


def _is_manifest(file: Path) -> bool:
    return file.suffix in MANIFEST and "provenance" not in file.name and file.name != "sets.json" and file.is_file()


def every_command(one: Set) -> Told:
    """Each command on one set; nothing but a K8slbError may come of it."""
    told, started = Told(one.name, one.files), time.process_time()
    try:
        cluster = k8slb.load([str(f) for f in one.files])
    except k8slb.InputError as error:
        told.refused = str(error).replace(str(one.files[0].parent) + "/", "")
        told.seconds = time.process_time() - started
        return told
    except Exception:
        told.bugs.append(f"load\n{traceback.format_exc()}")
        return told
    told.objects = sum(1 for o in cluster.objects if not isinstance(o, Other))
    told.aside = Counter(o.kind for o in cluster.objects if isinstance(o, Other))

    def ask(what: str, question: Callable[[], Any]) -> Any:
        try:
            answer = question()
        except k8slb.K8slbError as error:
            told.said[f"{what}: {type(error).__name__}"] += 1
            return None
        except Exception:
            told.bugs.append(f"{what}\n{traceback.format_exc()}")
            return None
        told.said[f"{what}: ok"] += 1
        return answer

    def forms(result: Any, *names: str) -> Any:
        for name in names:
            value = getattr(result, name)
            assert json.dumps(value()) if name == "to_dict" else value, name
        assert str(result).strip()
        return result

    ask("summary", lambda: str(cluster))
    asked = list(ask("probes", lambda: probes(cluster)) or ())
    urls = [(p.url, dict(p.headers), None) for p in asked[:ASKED]]
    for service in list(cluster.services.values())[:ASKED]:
        for port in service.spec.ports:
            scheme = "udp" if port.protocol == "UDP" else "http"
            urls.append((f"{scheme}://{service.name}.{service.namespace}:{port.port}", {}, f"node:{_node(cluster)}"))
    told.asked = len(urls) if cluster.of(Ingress, Service, HTTPRoute) else 0
    cases = []
    for url, headers, from_ in urls:
        who = {"headers": headers, "from_": from_ or "external"}
        trace = ask("trace", lambda: forms(cluster.trace(url, **who), "to_dict"))  # noqa: B023 (asked at once)
        ask("shares", lambda: forms(cluster.shares(url, **who), "to_dict"))  # noqa: B023
        ask("send", lambda: forms(cluster.send(url, requests=20, **who), "to_dict"))  # noqa: B023
        if trace is not None and len(cases) < 20:
            of = {"url": url, "from": who["from_"], "expect": {"action": trace.action}}
            cases.append(of | ({"headers": headers} if headers else {}))
    found = ask("explain", lambda: forms(cluster.explain(), "to_dict"))
    for one_found in found or ():
        told.findings[one_found.id] += 1
        place = Path(one_found.file).name + (f":{one_found.line}" if one_found.line else "")
        told.where.append(f"{place} [{one_found.id}] {one_found.what} -- {one_found.consequence}")
    for url, headers, from_ in [(None, {}, None), *urls[:: max(1, len(urls) // DRAWN)]]:
        who = {"headers": headers, "from_": from_ or "external"} if url else {}
        ask("draw", lambda: forms(cluster.draw(url, **who), "text", "mermaid", "dot", "to_dict"))  # noqa: B023
    ask("draw svg", lambda: forms(cluster.draw(), "svg"))
    again = ask("diff with itself", lambda: forms(cluster.diff(k8slb.load([str(f) for f in one.files])), "markdown"))
    if again:
        told.bugs.append(f"diff with itself is not empty:\n{again}")
    if cluster.of(Ingress):
        ask("translate", lambda: forms(cluster.translate(), "to_dict", "yaml"))
        other = lambda: cluster.with_controller("traefik.io/ingress-controller")  # noqa: E731
        ask("diff with another controller", lambda: forms(cluster.diff(other()), "to_dict", "markdown", "svg"))
    for mode in ("iptables", "nftables", "ipvs"):
        ask("rules", lambda: str(cluster.rules(_node(cluster), mode)))  # noqa: B023
    if cases:
        text = "\n---\n".join(json.dumps(case) for case in cases)
        report = ask("test", lambda: forms(cluster.test(k8slb.positions.Source("CASES", text)), "junit", "to_dict"))
        if report is not None and not report.passed:
            told.bugs.append(f"cases made of its own traces fail:\n{report}")
    counts = "\n".join(f"{7 * i + 3} pod-{i}" for i in range(4))
    ask("fingerprint", lambda: forms(fingerprint(k8slb.positions.Source("COUNTS", counts)), "to_dict"))
    told.seconds = time.process_time() - started
    return told


def _node(cluster: Any) -> str:
    return next(iter(cluster.nodes)).name


def origin(root: Path, file: Path) -> tuple[str, str]:
    """(repository, commit) of a file."""
    for at in (file.with_name(file.name + ".provenance.json"), *(p / "provenance.json" for p in file.parents)):
        if at.is_file():
            told = json.loads(at.read_text())
            return told["repository"], told["commit"]
        if at.parent == root:
            break
    return "", ""


def sha256(files: tuple[Path, ...]) -> str:
    """Of the texts in the order of their names."""
    return hashlib.sha256(b"".join(f.read_bytes() for f in sorted(files))).hexdigest()


def page(root: Path, all_: list[Told]) -> str:
    """PUBLIC.md."""
    said: Counter = sum((t.said for t in all_), Counter())
    findings: Counter = sum((t.findings for t in all_), Counter())
    refused = [t for t in all_ if t.refused]
    read = [t for t in all_ if not t.refused]
    routed = [t for t in read if t.asked]
    repos = {origin(root, f)[0] for t in all_ for f in t.files}
    commands = Counter()
    for key, count in said.items():
        commands[key.partition(": ")[0]] += count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    lines = [
        "# Manifest sets that others wrote",
        "",
        "Every command of k8slb on manifests that nobody here wrote. They are no part of this project; who fetches",
        "them by repository, path and commit has the same sha256. `python tests/fuzz/public.py FOLDER --write` made",
        "this page. The files of kubernetes/kubernetes are those of its tag as a source package of Debian has them;",
        "the others were copied from their repositories, and have as many characters as there. Where the files of a",
        "set are of several commits, all are named.",
        "",
        f"**{len(all_)} sets from {len(repos)} repositories, {sum(len(t.files) for t in all_):,} files:",
        f"{len(read)} read, {len(routed)} of them with Services or routes",
        f"({sum(t.objects for t in read):,} objects modelled,",
        f"{sum(t.aside.total() for t in read):,} kept aside), {len(refused)} refused,",
        f"{sum(len(t.bugs) for t in all_)} bugs.**",
        f"{sum(t.seconds for t in all_):,.0f} CPU-seconds, peak {peak:,} MiB,",
        f"k8slb {k8slb.__version__}, Python {sys.version.split()[0]}.",
        "",
        "| command | asked | ok | told what is not modelled | told what is wrong |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, count in commands.items():
        of = (said[f"{name}: {how}"] for how in ("ok", "NotModelled", "InputError"))
        lines.append(f"| {name} | {count:,} | " + " | ".join(f"{n:,}" for n in of) + " |")
    lines += ["", "## Findings of `explain`", "", "| finding | how often | in sets |", "|---|--:|--:|"]
    for name, count in findings.most_common():
        lines.append(f"| {name} | {count:,} | {sum(1 for t in all_ if t.findings[name])} |")
    lines += ["", "## Refused, and why", "", "| set | what it said |", "|---|---|"]
    lines += [f"| {t.name} | {_cell(t.refused)} |" for t in refused]
    lines += ["", "## Sets with Services or routes", ""]
    head = ["set", "commit", "sha256", "files", "objects", "aside", "URLs asked", "not modelled", "findings", "CPU s"]
    lines += ["| " + " | ".join(head) + " |", "|---|---|---|--:|--:|--:|--:|--:|---|--:|"]
    for t in routed:
        found = ", ".join(f"{name} {n}" for name, n in sorted(t.findings.items())) or "none"
        row = [*_known(root, t), t.asked, t.said["shares: NotModelled"], found, f"{t.seconds:.1f}"]
        lines.append("| " + " | ".join(_cell(str(cell)) for cell in row) + " |")
    lines += [
        "",
        "## Sets without",
        "",
        "| set | commit | sha256 | files | objects | aside |",
        "|---|---|---|--:|--:|--:|",
    ]
    for t in read:
        if t not in routed:
            lines.append("| " + " | ".join(_cell(str(cell)) for cell in _known(root, t)) + " |")
    return "\n".join(lines) + "\n"


def _known(root: Path, t: Told) -> list:
    """Name, commit, sha256, and how many files and objects."""
    commits = sorted({origin(root, f)[1] for f in t.files})
    short = ", ".join(c[:10] if len(c) == 40 else c.partition(",")[0] for c in commits)
    return [t.name, short, sha256(t.files)[:16], len(t.files), t.objects, t.aside.total()]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")[:240]


def main(argv: list[str]) -> int:
    root = Path(argv[0]).resolve()
    only = argv[argv.index("--only") + 1] if "--only" in argv else ""
    verbose, all_ = "-v" in argv, []
    for one in sets(root):
        if only not in one.name:
            continue
        told = every_command(one)
        all_.append(told)
        print(f"{told.seconds:6.1f} s  {told.objects:4}  {'refused ' if told.refused else ''}{told.name}", flush=True)
        for line in (
            *([told.refused] if told.refused and verbose else ()),
            *(told.where if verbose else ()),
            *told.bugs,
        ):
            print("    " + line.replace("\n", "\n    "), flush=True)
    bugs = [f"== {t.name}: {bug}" for t in all_ for bug in t.bugs]
    print(f"{len(all_)} sets, {sum(1 for t in all_ if t.refused)} refused, {len(bugs)} bugs")
    if bugs:
        (root / "BUGS.txt").write_text("\n\n".join(bugs))
    if "--write" in argv:
        Path(__file__).with_name("PUBLIC.md").write_text(page(root, all_))
    return 1 if bugs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
