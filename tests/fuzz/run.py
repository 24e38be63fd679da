"""The long run: python tests/fuzz/run.py -n 100000 [--manifests FOLDER] [--from SEED] [--kinds a,b] [--write].

So many documents, the kinds in turn, in one process; it tells how far it is, and stops at the first bug with the seed
that makes the document again. With --manifests the mutations of manifests begin with those of FOLDER, and only they
are made. --write notes the figures in FUZZ.md. A document's number is its seed.
"""

import argparse
import platform
import random
import re
import resource
import sys
import time
import traceback
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from fuzz import documents  # noqa: E402
from fuzz.questions import ASK, ask  # noqa: E402

import k8slb  # noqa: E402

MUTATED = ("mutated_text", "mutated_values", "markup")
KINDS = documents.MANIFESTS | documents.OTHERS


def rss(peak: bool) -> int:
    """Resident memory in MiB: the most there ever was, or now."""
    if peak:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--manifests", default="")
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--kinds", default="")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    documents.start_from(args.manifests)
    kinds = args.kinds.split(",") if args.kinds else list(MUTATED if args.manifests else documents.TURN)
    made, answered, spent, slowest = (
        defaultdict(int),
        defaultdict(int),
        defaultdict(float),
        defaultdict(lambda: (0.0, 0)),
    )
    started, told, at_first = time.process_time(), time.monotonic(), 0
    for seed in range(args.first, args.first + args.n):
        kind = kinds[seed % len(kinds)]
        rng = random.Random(seed)
        text = KINDS[kind](rng)
        begun = time.process_time()
        try:
            answered[kind] += ASK.get(kind, ask)(text, rng)
        except Exception:
            traceback.print_exc()
            print(f"BUG: {kind}, seed {seed}: {sys.argv[0]} -n 1 --from {seed} --kinds {kind}", file=sys.stderr)
            return 1
        took = time.process_time() - begun
        made[kind] += 1
        spent[kind] += took
        slowest[kind] = max(slowest[kind], (took, seed))
        at_first = at_first or (rss(False) if seed - args.first == min(2000, args.n // 2) else 0)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            done = seed - args.first + 1
            print(f"{done:,} of {args.n:,}, {time.process_time() - started:,.0f} CPU s, {rss(False)} MiB", flush=True)
    cpu = time.process_time() - started
    text = page(args, made, answered, spent, slowest, cpu, at_first)
    print(text)
    if args.write:
        note(text, "## Mutations of manifests of others" if args.manifests else "## All kinds")
    return 0


def page(args, made, answered, spent, slowest, cpu, at_first) -> str:
    total, good = sum(made.values()), sum(answered.values())
    versions = (
        f"k8slb {k8slb.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    last, early = args.first + args.n - 1, min(2000, args.n // 2)
    lines = [
        f"{total:,} documents (seeds {args.first:,} to {last:,}): {good:,} answered, {total - good:,} refused with",
        f"what is wrong, none with another exception. {cpu:,.0f} CPU-seconds on one core; peak memory",
        f"{rss(True):,} MiB, resident {at_first:,} MiB after the first {early:,} and {rss(False):,} at the end.",
        f"{versions}, {time.strftime('%Y-%m-%d')}.",
        "",
        "| kind | documents | answered | refused | CPU s | slowest, CPU s | its seed |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for kind in made:
        took, seed = slowest[kind]
        row = (made[kind], answered[kind], made[kind] - answered[kind], round(spent[kind]), round(took, 2), seed)
        lines.append(f"| {kind.replace('_', ' ')} | " + " | ".join(f"{x:,}" for x in row) + " |")
    if args.manifests:
        count, hashes = len(documents.seeds(args.manifests)), "PUBLIC.md has their names"
        lines.insert(4, f"They begin with {count:,} files that others wrote ({hashes}).")
    return "\n".join(lines)


def note(text: str, title: str) -> None:
    """Put the figures under `title` in FUZZ.md; the rest of it stays."""
    file = HERE / "FUZZ.md"
    head, *parts = re.split(r"(?m)^(?=## )", file.read_text())
    kept = {part.partition("\n")[0]: part.rstrip("\n") for part in parts} | {title: f"{title}\n\n{text}"}
    file.write_text("\n\n".join([head.rstrip("\n"), *(kept[t] for t in sorted(kept))]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
