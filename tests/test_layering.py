"""Who may know whom: a module imports only from rooms below its own."""

import ast

from conftest import ROOT

ORDER = [
    {
        "config",
        "processes",
        "sharding",
        "optimization",
        "types",
        "streams",
        "files",
        "layout",
        "sde",
        "backbones",
        "modalities",
    },
    {"denoiser", "data", "report", "card"},
    {"analytic", "loss", "samplers", "results"},
    {"condition", "objective"},
    {"build", "likelihood"},
    {"batches", "plan", "order", "inference", "best"},
    {"model"},
    {"state"},
    {"evaluate", "hub", "search", "votes"},
    {"generate", "graph"},
    {"align", "grow", "journal", "page"},
    {"trainer"},
    {"training"},
    {"main"},
]
LEVEL = {name: i for i, names in enumerate(ORDER) for name in names}
LEAVES = {"layout", "sde", "backbones", "modalities"}  # these know nobody
PACKAGE = ROOT / "jointdiff"


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Rooms of the package that a file imports."""
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level]
                target = [*base, *(node.module.split(".") if node.module else [])]
                names = [target[1]] if len(target) > 1 else [a.name for a in node.names]
                yield from names
            elif node.module and node.module.split(".")[0] == "jointdiff":
                yield from (node.module.split(".")[1:2] or [a.name for a in node.names])
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("jointdiff."))


def test_rooms_know_only_rooms_below():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        here = room(path)
        if here == "__init__":
            continue
        assert here in LEVEL, f"{path.name} has no place in the order"
        for there in imported(path):
            if there != here and (LEVEL[there] >= LEVEL[here] or here in LEAVES and there != "streams"):
                wrong.append(f"{path.relative_to(ROOT)} imports {there}")
    assert not wrong, wrong


def test_every_room_is_real():
    rooms = {room(p) for p in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms == set(LEVEL)


def test_flags_live_in_main_only():
    users = {
        p.name
        for p in PACKAGE.rglob("*.py")
        if "flags" in p.read_text().split("import absl")[0] and "absl import app, flags" in p.read_text()
    }
    assert users == {"main.py"}


def test_no_isinstance_on_an_sde():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                assert not {"SDE", "VP", "SubVP", "VE"} & {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def rooms():
    """The README's map of the code: every room with the first sentence of its docstring, the topmost first."""
    lines = []
    for names in reversed(ORDER):
        for name in sorted(names):
            path = PACKAGE / f"{name}.py"
            said = ast.get_docstring(
                ast.parse((path if path.is_file() else PACKAGE / name / "__init__.py").read_text())
            )
            first = said.splitlines()[0].split(". ")[0].rstrip(".")
            lines.append(f"{name + ('' if path.is_file() else '/'):14}{first}")
        lines.append("-" * 14)
    return "\n".join(lines[:-1])


def test_the_readmes_map_is_the_code():
    readme = (ROOT / "README.md").read_text()
    assert f"```\n{rooms()}\n```" in readme, f"put this into the README:\n{rooms()}"
