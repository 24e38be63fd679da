"""One run of one engine in this process: `python one.py ENGINE WORKLOAD REQUESTS SEED [WARM]`; prints JSON.

Counted is the CPU time (user and system, all threads) of the run alone, after the imports and a run of WARM requests.
"""

import importlib
import json
import sys
import time


def main(engine: str, name: str, n: int, seed: int, warm: int) -> None:
    if engine == "k8slb":
        sys.modules["numba"] = None  # as if it were not installed
    if engine == "k8slb-numba":
        importlib.import_module("k8slb.fast")  # so that the small run already uses it
    module = importlib.import_module("in_" + engine.removesuffix("-numba").removesuffix("-table"))
    if warm:
        module.run(name, warm, seed + 1)
    if engine == "k8slb-table":
        len(module.sent(name, 1000, 0).table)  # loads pandas
        outcome = module.sent(name, n, seed)
        begun = time.process_time()
        rows = len(outcome.table)
        print(json.dumps({"mean": float(outcome.run.latency.mean()), "cpu": time.process_time() - begun, "rows": rows}))
        return
    begun = time.process_time()
    mean = module.run(name, n, seed)
    print(json.dumps({"mean": mean, "cpu": time.process_time() - begun}))


if __name__ == "__main__":
    engine, name, *numbers = sys.argv[1:]
    main(engine, name, *map(int, [*numbers, "0"][:3]))
