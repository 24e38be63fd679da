"""k8slb beside other simulators and beside C, on the four workloads of peers/shapes.py: `make bench`.

python tests/bench/peers.py [--quick] [--write]: --quick runs everything once and small; --write stores PEERS.md. Every
run is a process of its own, engines take turns, and what is shown is the median. Nothing here passes or fails.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent / "peers"
sys.path.insert(0, str(HERE))
from shapes import SHAPES  # noqa: E402

# engine: (requests of a run, of the run before it, the package that must be there)
ENGINES = {
    "simpy": (200_000, 2_000, "simpy"),
    "desimpy": (200_000, 2_000, "desimpy"),
    "ciw": (20_000, 1_000, "ciw"),
    "cimba": (1_000_000, 10_000, "cimba"),
    "k8slb": (1_000_000, 10_000, "k8slb"),
    "k8slb-numba": (1_000_000, 10_000, "numba"),
    "c": (1_000_000, 10_000, ""),
    "c-ziggurat": (1_000_000, 10_000, ""),
    "c-keep": (1_000_000, 10_000, ""),
}
NAMES = {
    "k8slb": "k8slb, no compiler",
    "k8slb-numba": "k8slb with numba",
    "c": "C, -log(u)",
    "c-ziggurat": "C, ziggurat",
    "c-keep": "C, -log(u), keeping every request",
}
PLAIN = {"W1": 90, "W2": 12, "W3": 18, "W4": 65}  # times simpy, without a compiler
LOOPS = {"c": ["-DLOG"], "c-ziggurat": [], "c-keep": ["-DLOG", "-DKEEP"]}
ENV = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as a user has it
COLD = ("simpy", "desimpy", "cimba", "k8slb", "c")
PACKAGES = ("simpy", "desimpy", "ciw", "cimba", "numba", "numpy", "pandas", "k8slb")


def compiled(folder: str) -> str | None:
    """Build the C programs; return the compiler's name, None where there is none."""
    compiler = next(([c] for c in ("gcc", "cc", "clang") if shutil.which(c)), None)
    if compiler is None and importlib.util.find_spec("ziglang"):
        compiler = [sys.executable, "-m", "ziglang", "cc"]
    if compiler is None:
        return None
    for name, more in LOOPS.items():
        built = [*compiler, "-O2", *more, "-o", f"{folder}/{name}", str(HERE / "loops.c"), "-lm"]
        subprocess.run(built, check=True)
    said = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout
    return said.splitlines()[0]


def once(folder: str, engine: str, name: str, n: int, seed: int, warm: int) -> dict:
    """{"mean", "cpu", "process"}: the seconds that the run, and that the whole process took; or {"failed"}."""
    program = [f"{folder}/{engine}"] if engine in LOOPS else [sys.executable, f"{HERE}/one.py", engine]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = subprocess.Popen([*program, name, str(n), str(seed), str(warm)], stdout=out, stderr=err, env=ENV)
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if started.returncode:
            return {"failed": (err.read().strip().splitlines() or [f"exit code {started.returncode}"])[-1]}
        return json.loads(out.read()) | {"process": used.ru_utime + used.ru_stime}


def off(name: str, n: int, means: list[float]) -> str:
    """What is wrong with these means of n requests each, if they are too far from theory's; "" otherwise."""
    shape = SHAPES[name]
    found = statistics.fmean(means) / shape.mean - 1
    # four standard errors, and what the empty start costs
    allowed = 4 * shape.spread * (1e5 / n / len(means)) ** 0.5 + 0.02 * 1e4 / n
    return "" if abs(found) <= allowed else f"wrong mean ({found:+.1%})"


def told(engine: str, name: str, n: int, runs: list[dict], key: str) -> float | str:
    """The median of `key`, or what is wrong."""
    failed = [run["failed"] for run in runs if "failed" in run]
    return (failed and failed[0]) or off(name, n, [r["mean"] for r in runs]) or statistics.median(r[key] for r in runs)


def measure(folder: str, engines: list[str], rounds: int, scale: float) -> dict[tuple[str, str], tuple]:
    """{(engine, workload | "cold" | "table"): (median CPU seconds, for a million requests, or what is wrong; mean)}."""
    jobs = {(e, name): (e, name, int(ENGINES[e][0] * scale), ENGINES[e][1]) for e in engines for name in SHAPES}
    jobs |= {(e, "cold"): (e, "W2", 100_000, 0) for e in COLD if e in engines}
    jobs |= {("k8slb", "table"): ("k8slb-table", "W1", int(1_000_000 * scale), 0)}
    runs: dict[tuple[str, str], list[dict]] = {job: [] for job in jobs}
    for number in range(rounds):
        for job, (engine, name, n, warm) in jobs.items():
            if sys.stderr.isatty():
                print(f"\rround {number + 1} of {rounds}: {' '.join(job):<20}", end="", file=sys.stderr, flush=True)
            runs[job].append(once(folder, engine, name, n, 1 + number, warm))
    if sys.stderr.isatty():
        print(f"\r{'':40}\r", end="", file=sys.stderr)
    found = {}
    for (engine, what), (_, name, n, _) in jobs.items():
        value = told(engine, name, n, runs[engine, what], "process" if what == "cold" else "cpu")
        if what in SHAPES and not isinstance(value, str):
            value *= 1e6 / n
        found[engine, what] = value, statistics.fmean(r.get("mean", float("nan")) for r in runs[engine, what])
    return found


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.machine())


def row(*cells) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def shown(value: float | str, base: float | str = "") -> str:
    if isinstance(value, str):
        return value
    return f"{value:.3g}" + ("" if isinstance(base, str) else f" ({base / value:.3g})")


def targets(found: dict) -> list[str]:
    """A line for each target: what is wanted, what was measured."""

    def ratio(one, other, what):
        a, b = (found.get((engine, what), ("not measured",))[0] for engine in (one, other))
        return b if isinstance(b, str) else a if isinstance(a, str) else a / b

    def line(what, aim, at_least, values):
        cells = [
            v if isinstance(v, str) else f"{v:.3g}{'' if (v >= g if at_least else v <= g) else ' (missed)'}"
            for v, g in zip(values, aim, strict=True)
        ]
        wanted = ", ".join(f"{g:g}" for g in dict.fromkeys(aim))
        return row(what, f"{'at least' if at_least else 'at most'} {wanted}", ", ".join(cells))

    plain = [ratio("simpy", "k8slb", w) for w in PLAIN]
    lines = [line("no compiler, times simpy, W1 to W4", list(PLAIN.values()), True, plain)]
    for aim, engine, text in ((2, "cimba", "cimba"), *((0.4, c, NAMES[c]) for c in ("c-keep", "c", "c-ziggurat"))):
        values = [ratio(engine, "k8slb-numba", w) for w in PLAIN]
        lines.append(line(f"with numba, times {text}, W1 to W4", [aim] * 4, True, values))
    lines.append(line("first mean of 100,000 (W2), of simpy's time", [0.2], False, [ratio("k8slb", "simpy", "cold")]))
    table = found["k8slb", "table"][0]
    return [
        *lines,
        line("table of 1,000,000 rows, ms", [10], False, [table if isinstance(table, str) else 1000 * table]),
    ]


def report(found: dict, engines: list[str], rounds: int, compiler: str | None, absent: list[str]) -> str:
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in PACKAGES if importlib.util.find_spec(p))
    lines = [
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPUs ({processor()}), Python {platform.python_version()};",
        f"{versions};",
        f"C: {compiler or 'no compiler found'}." + (f" Not there: {', '.join(absent)}." if absent else ""),
        "",
        f"CPU seconds for 1,000,000 requests (how many times as fast as simpy), median of {rounds}:",
        "",
        row("engine", *SHAPES, "requests in a run"),
        row(*["---"] * 6),
    ]
    for e in engines:
        cells = [shown(found[e, w][0], found.get(("simpy", w), ("",))[0]) for w in SHAPES]
        lines.append(row(NAMES.get(e, e), *cells, f"{ENGINES[e][0]:,}"))
    lines += ["", "Their means, in ms:", "", row("engine", *SHAPES), row(*["---"] * 5)]
    lines.append(row("theory", *(f"{1000 * shape.mean:.4g}" for shape in SHAPES.values())))
    lines += [row(NAMES.get(e, e), *(f"{1000 * found[e, w][1]:.4g}" for w in SHAPES)) for e in engines]
    lines += [
        "",
        "CPU seconds from the start of a process to its first mean of 100,000 requests (W2), everything counted:",
        "",
    ]
    lines += [row(*(NAMES.get(e, e) for e in COLD if e in engines)), row(*["---"] * sum(e in engines for e in COLD))]
    lines += [row(*(shown(found[e, "cold"][0]) for e in COLD if e in engines))]
    return (
        "\n".join([*lines, "", row("target for k8slb", "wanted", "measured"), row(*["---"] * 3), *targets(found)])
        + "\n"
    )


PREFACE = """# Beside other simulators

What `make bench ARGS=--write` measured. Four workloads (`peers/shapes.py`): W1 random over 10 pods, W2 join the
shortest of 10 queues, W3 the less busy of two drawn of 100, W4 three stages. Each engine has a program as its
documentation would write it (`peers/in_*.py`). k8slb is asked through `Cluster.send` on the clusters of
`workloads.py`, and keeps each request's way and latency, while the others only add up. Without a compiler, numba is
hidden from it.

Every run is a process of its own, and engines take turns. Counted is CPU time, user and system, after the imports,
building the cluster and a small run (which compiles, where a compiler is used). Engines that are slow run fewer
requests, and their time is taken as proportional. C is one loop for each workload (`peers/loops.c`), -O2 (-O3
-march=native: the same within noise), one core, xoshiro256+, exponential draws as -log(u) or by the ziggurat; once it
keeps each request's pod, time and latency, as k8slb does. A mean
further from theory than four standard errors is told instead of a time. Machines are shared and differ: trust ratios.

"""


def main() -> None:
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        compiler = compiled(folder)
        there = [
            e for e, (*_, package) in ENGINES.items() if (importlib.util.find_spec(package) if package else compiler)
        ]
        rounds, scale = (1, 0.1) if quick else (5, 1.0)
        found = measure(folder, there, rounds, scale)
    text = report(found, there, rounds, compiler, [e for e in ENGINES if e not in there])
    print(text)
    if "--write" in sys.argv:
        (HERE.parent / "PEERS.md").write_text(PREFACE + text, encoding="utf-8")


if __name__ == "__main__":
    main()
