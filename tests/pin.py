"""Write constraints.txt and binder/requirements.txt from pip's report (`make constraints`)."""

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(report: str) -> None:
    found = (item["metadata"] for item in json.loads(Path(report).read_text())["install"])
    pins = {plain(meta["name"]): meta["version"] for meta in found}
    del pins["k8slb"]
    (ROOT / "constraints.txt").write_text("".join(f"{name}=={pins[name]}\n" for name in sorted(pins)))

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime = sorted(plain(re.match(r"[\w.-]+", line)[0]) for line in project["dependencies"])
    (ROOT / "binder/requirements.txt").write_text("".join(f"{name}=={pins[name]}\n" for name in runtime))


if __name__ == "__main__":
    main(sys.argv[1])
