"""The house: imports go down only, files stay small, heavy libraries load only when used."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "k8slb"
# From the ground up; a module may import what stands before it. ARCHITECTURE.md shows the same order.
FLOORS = [
    "errors",
    "few",
    "terminal",
    "patterns",
    "theory",
    "chance",
    "positions",
    "reader",
    "objects",
    "manifests",
    "controllers",
    "loadbalancers",
    "scheduling",
    "derive",
    "cluster",
    "traffic",
    "endpoints",
    "decision",
    "upstream",
    "routes",
    "balancers",
    "kubectl",
    "failures",
    "layers",
    "path",
    "answers",
    "show",
    "changes",
    "clients",
    "remembered",
    "sender",
    "serving",
    "connections",
    "memory",
    "fast",
    "queues",
    "arrays",
    "engine",
    "outcome",
    "front",
    "real",
    "sweep",
    "incidents",
    "course",
    "cli",
    "__main__",
]
HEAVY = ("numba", "numpy", "pandas", "matplotlib", "ipywidgets", "graphviz")


def modules():
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        yield name, file, ast.parse(file.read_text(encoding="utf-8"))


def imports(name: str, file: Path, tree: ast.AST):
    """(module of this package, line, inside a function) for every import."""
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inside = {id(n) for f in functions for n in ast.walk(f)}
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            full = base + (node.module.split(".") if node.module else [])
            for target in [full] if node.module else [[*full, a.name] for a in node.names]:
                yield ".".join(target), node.lineno, id(node) in inside


def floor(module: str) -> int:
    return FLOORS.index(module.split(".")[0])


def test_imports_go_down_only():
    wrong = []
    for name, file, tree in modules():
        if name == "__init__":
            continue
        for target, line, _ in imports(name, file, tree):
            if target == "__version__":
                continue
            same_room = target.split(".")[0] == name.split(".")[0]
            if not same_room and floor(target) >= floor(name):
                wrong.append(f"{name}:{line} imports {target}")
    assert not wrong


def test_layers_do_not_know_each_other():
    for name, file, tree in modules():
        room = name.split(".")
        if room[0] == "layers" and len(room) > 1:
            for target, line, _ in imports(name, file, tree):
                other = target.split(".")
                assert other[0] != "layers" or other[1] == room[1], f"{name}:{line} imports {target}"


def test_imports_inside_functions_load_something_heavy():
    """Only what opens a room with numpy, matplotlib or ipywidgets in it imports late."""
    late = {(n, t) for n, f, tree in modules() for t, _, inside in imports(n, f, tree) if inside}
    assert {n for n, _ in late} <= {"front", "outcome", "real.recordings", "changes.change", "queues"}
    assert {t.split(".")[0] for _, t in late} <= {"engine", "outcome", "show", "fast"}


def test_a_trace_and_shares_load_nothing_heavy():
    code = (
        "import sys, k8slb; s = k8slb.load('shop'); s.trace('http://order-service'); s.shares('http://order-service');"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_files_and_package_stay_small():
    """A file: fewer than 400 lines. The package: fewer than 16,150 of code (docstrings, comments, blanks apart), and
    the room that runs real components 2,300 beside it."""
    lines = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file, _ in modules()}
    assert max(lines.values()) < 400, {n: k for n, k in lines.items() if k >= 400}
    code = {name: code_lines(file.read_text(encoding="utf-8"), tree) for name, file, tree in modules()}
    real = sum(count for name, count in code.items() if name.split(".")[0] == "real")
    assert real < 2_300
    assert sum(code.values()) - real < 16_150


def code_lines(text: str, tree: ast.AST) -> int:
    documented = (n for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef)))
    docstrings = [n.body[0] for n in documented if ast.get_docstring(n) is not None]
    told = {line for d in docstrings for line in range(d.lineno, d.end_lineno + 1)}
    kept = (i for i, line in enumerate(text.splitlines(), 1) if line.strip() and not line.strip().startswith("#"))
    return sum(i not in told for i in kept)
