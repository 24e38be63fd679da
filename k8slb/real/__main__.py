"""python -m k8slb.real record NAME...: put the recorded questions to the real thing again (all: every one of them).

python -m k8slb.real table: the model and the real thing side by side, written to tests/real/MODEL_AND_REAL.md.
"""

import sys

from ..errors import K8slbError
from . import record


def main(words: list[str]) -> int:
    """Exit code 2 for a name that is not known, or what this machine lacks."""
    match words:
        case ["record", *given] if given:
            for name in record.names() if given == ["all"] else given:
                print(f"written: {record.record(name)}")
        case ["table"]:
            print(f"written: {record.run('real/table.py')}")
        case _:
            print(__doc__.strip(), f"NAME: all, or one of {', '.join(record.names())}", sep="\n\n", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (K8slbError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
