"""The house rules: which folder may import which, from top to bottom, and no way round."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "espnet_hybridse"
GROUND = {"fileio", "runtime"}
LEARNING = {"model", "losses", "simulation", "nn", *GROUND}
MAY_IMPORT = {
    "runtime": set(),
    "fileio": {"runtime"},
    "losses": set(),
    "nn": GROUND,
    "simulation": GROUND,
    "model": {"losses", *GROUND},
    "encoders": {"nn", *GROUND},
    "discriminative": {"nn", *GROUND},
    "fusion": {"nn", "model", *GROUND},
    "data": {"simulation", *GROUND},
    "corpora": {"simulation", "scoring", *GROUND},
    "scoring": {"simulation", *GROUND},
    "generative": {"encoders", "nn", *GROUND},
    "tokens": {"encoders", *GROUND},
    "sqa": {"losses", "scoring", *GROUND},
    "plugin": {"data", "discriminative", "fusion", "generative", "sqa", *LEARNING},
    "training": {"plugin", "model", "data", "tokens", "nn", *GROUND},
    "inference": {"plugin", "model", "nn", *GROUND},
    "release": {"inference", "model", "sqa", "scoring", "tokens", "encoders", *GROUND},
    "report": {"scoring", "inference", "simulation", "training", *GROUND},
    "peers": {"inference", *GROUND},
    "demo": {"inference", "scoring", "model", *GROUND},
    "bin": {"training", "model", *GROUND},
}
"""Folder -> the folders below it that it may import; `cli` may import any, nobody imports it."""


def imports(path):
    """(module of the package, whether inside a function) of each import; also "module:class"."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            names = [node.value.partition(":")[0]]  # of the plugin's tables
        for name in names:
            if name.split(".")[0] == "espnet_hybridse" and " " not in name:
                yield name.split(".")[1:], id(node) in inside


PLACES = {path.relative_to(ROOT).with_suffix(""): path for path in sorted(ROOT.rglob("*.py"))}
MODULES = {".".join(place.parts).removesuffix(".__init__") for place in PLACES}


def module(name):
    """The file that an imported name stands in."""
    return name if name in MODULES else name.rpartition(".")[0]


EDGES = [
    (path.relative_to(ROOT).as_posix(), module(".".join(name)), inside)
    for path in PLACES.values()
    for name, inside in imports(path)
]


def room(name):
    """The folder of "folder/file.py" or "folder.file"; a loose module is a room of its own."""
    return name.replace("/", ".").removesuffix(".py").split(".")[0]


@pytest.mark.parametrize("name", sorted({room(file) for file, _, _ in EDGES} - {"cli"}))
def test_a_folder_imports_only_what_stands_below_it(name):
    wrong = {
        (file, target)
        for file, target, _ in EDGES
        if room(file) == name
        and room(target) not in {name, *MAY_IMPORT.get(name, ())}
        and name != "__init__"
    }
    assert not wrong, sorted(wrong)


def test_no_import_inside_a_function_but_for_start_up():
    # `import espnet_hybridse` and a verb's --help are there at once.
    doors = ("__init__", "cli")
    wrong = {(f, t) for f, t, inside in EDGES if inside and room(f) not in doors}
    assert not wrong, sorted(wrong)


def test_folders_and_files_have_no_circle():
    graph = {}
    for file, target, _ in EDGES:
        source = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        # A package's own files are imported by way of it, which is no circle.
        if target != source and not source.startswith(target + "."):
            graph.setdefault(source, set()).add(target)
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, " -> ".join([*open_[open_.index(name) :], name])
        if name in done:
            return
        open_.append(name)
        for target in sorted(graph.get(name, ())):
            visit(target)
        done.add(open_.pop())

    for name in sorted(graph):
        visit(name)


def test_every_folder_has_a_place_and_only_the_plugin_stands_loose():
    loose = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    folders = {path.parent.relative_to(ROOT).parts[0] for path in ROOT.glob("*/*.py")}
    assert loose == {"plugin"}
    assert folders == MAY_IMPORT.keys() - loose | {"cli"}
