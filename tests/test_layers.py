"""Who may import whom, what nobody may do: a room imports only rooms below it, and no name of an option is tested anywhere.

A room is a module or package directly in `sei/`. Imports inside functions count as those at the top do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sei"
FILES = sorted(PACKAGE.rglob("*.py"))

# Every room with all the rooms it imports, from the ground up: each may import only rooms that stand before it. To import
# one more, ask first whether the room should know of it, then add it here; a permission that nobody uses is taken out.
ALLOWED: dict[str, set[str]] = {
    # Ground: records, numbers, text.
    "__init__": set(),
    "errors": set(),
    "terminal": {"errors"},
    "values": set(),
    "records": set(),
    "arithmetic": set(),
    "statistics": set(),
    "metrics": set(),
    "source": set(),
    "processes": {"errors"},
    "grading": {"processes"},
    "lease": set(),
    "commands": set(),
    "state": {"lease"},
    "reading": set(),
    "words": set(),
    "equations": {"arithmetic"},
    "answers": {"records", "grading", "reading"},
    "steps": {"answers"},
    "templates": {"records", "answers", "steps"},
    "prompts": {"errors"},
    "schema": {"errors"},
    "ray_cluster": {"errors", "processes"},
    # How a stage is declared, and where its result is kept.
    "stage": {"records", "source"},
    "workspace": {"errors", "records", "stage", "lease"},
    # What stages work with.
    "llm": {"errors", "terminal", "prompts", "lease"},
    "data": {"errors", "values", "records", "answers", "steps", "words"},
    "clustering": {"errors", "values", "records", "words"},
    "teacher": {
        "reading",
        "errors",
        "values",
        "records",
        "arithmetic",
        "equations",
        "answers",
        "steps",
        "templates",
        "prompts",
        "llm",
        "data",
    },
    "run_files": {"errors", "records"},
    "ledger": {"errors", "terminal", "run_files", "llm", "teacher"},
    "target": {
        "errors",
        "processes",
        "values",
        "records",
        "answers",
        "reading",
        "steps",
        "templates",
        "prompts",
        "ray_cluster",
        "llm",
        "data",
    },
    "training": {"errors", "processes", "terminal", "values", "records", "workspace", "target"},
    # Stages, and what is said of them.
    "stages": {
        "reading",
        "records",
        "statistics",
        "metrics",
        "equations",
        "answers",
        "steps",
        "templates",
        "stage",
        "workspace",
        "data",
        "clustering",
        "teacher",
        "target",
        "training",
        "words",
    },
    "results": {"records", "target", "stages"},
    # The configuration, and what works with it: a run from its options to its report.
    "config": {"errors", "values", "schema", "data", "clustering", "teacher", "target", "training"},
    "compose": {"errors", "schema", "llm", "target", "config", "commands"},
    "tracking": {
        "errors",
        "terminal",
        "ledger",
        "run_files",
        "records",
        "answers",
        "reading",
        "steps",
        "stage",
        "statistics",
        "workspace",
        "target",
        "training",
        "stages",
        "results",
        "config",
        "compose",
    },
    "lab": {
        "records",
        "answers",
        "stage",
        "workspace",
        "data",
        "teacher",
        "target",
        "training",
        "stages",
        "config",
        "tracking",
    },
    "recipes": {
        "errors",
        "values",
        "records",
        "templates",
        "stage",
        "llm",
        "data",
        "clustering",
        "teacher",
        "target",
        "training",
        "stages",
        "results",
        "tracking",
    },
    # What a run would take, and what it would say, before it runs.
    "fit": {"target", "training", "config", "recipes"},
    "gpu_hours": {"target", "recipes"},
    "prospect": {"errors", "records", "target", "config", "tracking", "lab", "recipes", "fit", "gpu_hours"},
    "plan": {
        "errors",
        "workspace",
        "llm",
        "data",
        "target",
        "training",
        "stages",
        "config",
        "tracking",
        "lab",
        "recipes",
        "fit",
        "prospect",
    },
    "rehearsal": {
        "errors",
        "records",
        "source",
        "templates",
        "data",
        "teacher",
        "target",
        "training",
        "config",
        "tracking",
        "recipes",
        "plan",
    },
    "scale": {"errors", "workspace", "target", "compose", "tracking", "lab", "recipes", "fit", "gpu_hours"},
    "run": {
        "errors",
        "processes",
        "terminal",
        "state",
        "workspace",
        "run_files",
        "config",
        "tracking",
        "lab",
        "prospect",
        "plan",
        "rehearsal",
        "ledger",
    },
    "sweep": {"errors", "terminal", "lease", "commands", "state", "ledger", "config", "tracking"},
    "launch": {
        "errors",
        "processes",
        "ray_cluster",
        "terminal",
        "target",
        "training",
        "compose",
        "tracking",
        "run",
        "sweep",
    },
    # Commands.
    "review": {"errors", "terminal", "run_files", "records", "statistics", "answers", "steps", "prompts", "workspace"},
    "workspace_view": {"errors", "tracking"},
    "export": {"errors", "terminal", "run_files", "records", "workspace", "data", "target", "stages", "tracking"},
    "experiments": {"errors", "terminal", "tracking"},
    "trace": {"errors", "terminal", "tracking"},
    "comparison": {"errors", "run_files", "records", "ledger", "statistics", "stages", "config", "tracking"},
    "compare": {"errors", "terminal", "comparison", "tracking"},
    "planted": {"errors", "terminal", "run_files", "records", "statistics", "data", "clustering", "stages", "tracking"},
    "locating": {"records", "statistics", "data", "teacher"},
    "aimed": {"errors", "terminal", "run_files", "records", "statistics", "stages", "recipes", "tracking"},
    "calibrate": {
        "locating",
        "errors",
        "records",
        "arithmetic",
        "statistics",
        "equations",
        "answers",
        "steps",
        "stage",
        "llm",
        "data",
        "teacher",
        "stages",
        "config",
        "compose",
        "tracking",
    },
}

# Files that import more than their room, which nobody else may do for that.
ALLOWED_FILES: dict[str, set[str]] = {
    # The program that made the embedded model: its texts are the arithmetic world's, and the symbolic teacher's templates and
    # checks. No run imports it.
    "target/tiny/pretrain.py": {"teacher"},
}

# Imports below `if TYPE_CHECKING:` beyond the table: signatures name what is handed in from above.
ALLOWED_TYPES: dict[str, set[str]] = {
    "config": {"recipes"},  # a recipe is part of the configuration, and judges the rest of it
    "recipes": {"config", "lab"},
    "reading": {"answers"},  # the name of a way to grade
}

# Who may know Hydra and OmegaConf.
ALLOWED_HYDRA = {
    "sei/compose.py",
    "sei/config.py",
    "train.py",
    "sei/sweep/__init__.py",  # Hydra calls it
    "sei/launch/search.py",  # Hydra calls it
    "sei/launch/jobs.py",  # Hydra calls it, and a job in another process is composed as Hydra does
}

# Words that name an option of a group below, but here mean something else.
OTHER_WORDS = {
    ("launch/ray.py", "local"),  # Ray's word for a cluster that it starts itself
    ("target/tiny/pretrain.py", "correction"),  # a kind of pretraining text
    ("templates.py", "cot"),  # a style of templates
}


def path_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(node: ast.AST) -> list[str]:
    """The modules that an import statement names; none for another node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.module is not None, f"line {node.lineno}: name the package"
        assert node.level == 0, f"line {node.lineno}: name the package"
        return [f"sei.{alias.name}" for alias in node.names] if node.module == "sei" else [node.module]
    return []


def imports(path: Path, *, types: bool = False) -> set[str]:
    """The rooms that a file imports: at run time, or (`types`) below `if TYPE_CHECKING:`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    ]
    for_types = {node for block in blocks for statement in block.body for node in ast.walk(statement)}
    nodes = (node for node in ast.walk(tree) if (node in for_types) == types)
    modules = (module.split(".") for node in nodes for module in imported(node))
    return {parts[1] for parts in modules if parts[0] == "sei" and len(parts) > 1} - {room_of(path)}


def test_every_room_has_a_rule() -> None:
    assert {room_of(path) for path in FILES} == set(ALLOWED)
    assert all((PACKAGE / name).is_file() for name in ALLOWED_FILES)


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_what_its_rule_says(room: str) -> None:
    found: set[str] = set()
    for path in FILES:
        if room_of(path) != room:
            continue
        more = ALLOWED_FILES.get(path_of(path), set())
        assert more <= imports(path), f"ALLOWED_FILES permits {path_of(path)} more than it imports"
        excess = imports(path) - more - ALLOWED[room]
        assert not excess, f"{path_of(path)} imports {', '.join(sorted(excess))}, which {room} may not"
        found |= imports(path) - more
    assert found == ALLOWED[room], "the table permits more than is imported: take it out"


@pytest.mark.parametrize("room", ALLOWED)
def test_types_come_from_below_or_are_named(room: str) -> None:
    found = {other for path in FILES if room_of(path) == room for other in imports(path, types=True)}
    assert found - ALLOWED[room] == ALLOWED_TYPES.get(room, set())


def test_rooms_form_no_cycle() -> None:
    order = list(ALLOWED)
    for room, others in ALLOWED.items():
        above = {other for other in others if order.index(other) >= order.index(room)}
        assert not above, f"{room} stands before {', '.join(sorted(above))}, which it imports"
    graph: dict[str, set[str]] = {}
    for path in FILES:
        graph.setdefault(room_of(path), set()).update(imports(path))
    assert len(list(TopologicalSorter(graph).static_order())) == len(ALLOWED)


def test_only_the_door_knows_hydra() -> None:
    def knows(path: Path) -> bool:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {module.split(".")[0] for node in ast.walk(tree) for module in imported(node)}
        return bool(modules & {"hydra", "omegaconf"})

    found = {path.relative_to(ROOT).as_posix() for path in [*FILES, ROOT / "train.py"] if knows(path)}
    assert found == ALLOWED_HYDRA


def words_compared(path: Path) -> Iterator[str]:
    """The strings that a file compares something to."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Compare, ast.match_case)):
            test = node.pattern if isinstance(node, ast.match_case) else node
            for part in ast.walk(test):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def test_no_name_of_an_option_is_tested() -> None:
    """What an option is or does stands in its class (`Replays`, `AsksTeacher`, ...), where an option of the user's own can
    say it too; code that asks for a name leaves that one out."""
    groups = ("teacher", "engine", "clustering", "embedder", "recipe")
    options = [path for group in groups for path in (ROOT / "conf" / group).glob("*.yaml")]
    written = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in options]
    names = {path.stem for path in options} | {values["name"] for values in written if "name" in values}
    assert len(names) >= 20
    found = {(path_of(path), word) for path in FILES for word in words_compared(path) if word in names}
    assert found == OTHER_WORDS


@pytest.mark.parametrize("path", FILES, ids=path_of)
def test_no_text_is_evaluated_or_unpickled(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "joblib.load"}, name
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name == "torch.load":
                assert keywords.get("weights_only") == "True"
            assert keywords.get("trust_remote_code", "False") == "False"
