"""The code that a result depends on: a hash of every definition that some classes and functions reach.

Place in the flow: `sei.stage` puts this hash into a stage's cache key, so that editing a helper which shapes a prompt
computes the stage again, and editing a comment, a docstring, an annotation or a function that the stage never reaches does
not. Modules are read as syntax trees and never imported: the key of a stage that runs a 70B model costs no import of torch.

A definition reaches the names it mentions: other definitions of its module, what it imports (also inside functions) and,
through them, theirs. Only modules of the same top-level packages as the roots are followed; the versions of installed
libraries are recorded in `results.json` instead.

Example::

    Code().digest([("sei.stages.diagnose", "diagnose"), ("sei.teacher.symbolic", "SymbolicTeacher")])
"""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

Root = tuple[str, str]
"""Module and name of a definition in it; the name "" stands for the whole module."""

_Definition = ast.stmt


def read_source(module: str) -> str | None:
    """The source text of a module, found without importing it; None for one that has none (compiled, or not there)."""
    path = _path_of(module)
    try:
        return path.read_text(encoding="utf-8") if path else None
    except OSError:
        return None


def _path_of(module: str) -> Path | None:
    top, *rest = module.split(".")
    loaded = sys.modules.get(module)
    if loaded is not None:  # the usual way, and the only one for `__main__`
        origin = getattr(loaded, "__file__", None)
        return Path(origin) if origin and origin.endswith(".py") else None
    try:
        specification = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if specification is None:
        return None
    if not rest:
        return Path(specification.origin) if specification.origin and specification.origin.endswith(".py") else None
    for folder in specification.submodule_search_locations or ():
        base = Path(folder).joinpath(*rest)
        for candidate in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


class Code:
    """The definitions of modules. `read` gives a module's source: tests hand in changed texts."""

    def __init__(self, read: Callable[[str], str | None] = read_source) -> None:
        self._read = read
        self._modules: dict[str, _Module | None] = {}

    def digest(self, roots: Iterable[Root]) -> str:
        """24 hex digits of the code that `roots` reach."""
        return hashlib.sha256("\n".join(sorted(self.reached(roots).values())).encode()).hexdigest()[:24]

    def reached(self, roots: Iterable[Root]) -> dict[Root, str]:
        """Every definition that `roots` reach, with its code as text; names that no module defines are left out."""
        roots = list(roots)
        followed = {module.split(".")[0] for module, _ in roots} | {"sei"}
        found: dict[Root, str] = {}
        waiting = roots
        while waiting:
            root = waiting.pop()
            if root in found or root[0].split(".")[0] not in followed:
                continue
            module = self._module(root[0])
            definition = module.definition(root[1]) if module else None
            if definition is None:
                continue
            code, mentions = definition
            found[root] = f"{root[0]}:{root[1]}\n{code}"
            waiting.extend(self._resolved(mention) for mention in mentions)
        return found

    def _resolved(self, mention: _Mention) -> Root:
        """What a mention means: `from package import module` names a module, and `module.name` one name of it."""
        module, name, attribute = mention
        found = self._module(module)
        if name and (found is None or name not in found.definitions):
            submodule = f"{module}.{name}"
            if self._module(submodule) is not None:
                return submodule, attribute
        if not name and attribute:
            return module, attribute
        return module, name

    def _module(self, name: str) -> _Module | None:
        if name not in self._modules:
            text = self._read(name)
            self._modules[name] = None if text is None else _parsed(name, text)
        return self._modules[name]


_Mention = tuple[str, str, str]
"""Module, name imported from it ("" for the module itself), attribute taken of that name ("" for none)."""


class _Module:
    """The top-level definitions of one module."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.definitions: dict[str, list[_Definition]] = {}
        self.imports: dict[str, Root] = {}
        self._known: dict[str, tuple[str, list[_Mention]] | None] = {}
        self._collect(ast.parse(text).body)

    def _collect(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.definitions.setdefault(node.name, []).append(node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                self.imports |= dict(_imported(node, self.name))
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                self._collect(node.orelse)  # what only the type checker sees has no effect
            elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For)):
                for part in ("body", "orelse", "finalbody"):
                    self._collect(getattr(node, part, []))
                for handler in getattr(node, "handlers", []):
                    self._collect(handler.body)
            else:
                for target in _assigned(node):
                    self.definitions.setdefault(target, []).append(node)

    def definition(self, name: str) -> tuple[str, list[_Mention]] | None:
        """The code of a name and what it mentions, None where nothing is defined; name "" gives the whole module.

        A name that the module only imports passes on to where it comes from.
        """
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> tuple[str, list[_Mention]] | None:
        if name == "":
            nodes = [node for group in self.definitions.values() for node in group]
        elif name in self.definitions:
            nodes = self.definitions[name]
        elif name in self.imports:
            return "", [(*self.imports[name], "")]
        else:
            return None
        bare = [_Bare().visit(copy.deepcopy(node)) for node in nodes]
        code = "\n".join(ast.dump(node) for node in bare)
        return code, list(dict.fromkeys(mention for node in bare for mention in self._mentioned(node)))

    def _mentioned(self, node: ast.AST) -> Iterator[_Mention]:
        imports = dict(self.imports)
        attributes: dict[int, str] = {}  # id of a Name node -> the attribute taken of it
        names: list[ast.Name] = []
        for inner in ast.walk(node):
            if isinstance(inner, (ast.Import, ast.ImportFrom)):
                imports |= dict(_imported(inner, self.name))
            elif isinstance(inner, ast.Attribute):
                attributes[id(inner.value)] = inner.attr
            elif isinstance(inner, ast.Name):
                names.append(inner)
        for inner in names:
            if inner.id in imports:
                yield (*imports[inner.id], attributes.get(id(inner), ""))
            elif inner.id in self.definitions:
                yield self.name, inner.id, ""


@cache
def _parsed(name: str, text: str) -> _Module:
    return _Module(name, text)


class _Bare(ast.NodeTransformer):
    """Takes off what does not change what code does: docstrings, annotations, the decorators of functions."""

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.decorator_list = [one for one in node.decorator_list if not _is_stage(one)]
        node.returns = None
        for argument in [
            *node.args.posonlyargs,
            *node.args.args,
            *node.args.kwonlyargs,
            node.args.vararg,
            node.args.kwarg,
        ]:
            if argument is not None:
                argument.annotation = None
        node.body = _without_docstring(node.body)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = _without_docstring(node.body)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """A string by itself documents the line above it."""
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return ast.Pass()
        return self.generic_visit(node)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    return [node for node in body if not isinstance(node, ast.Pass)] or [ast.Pass()]


def _is_stage(decorator: ast.expr) -> bool:
    """Whether a decorator is `@stage(...)`: it leads to the machinery of caching, which shapes no result."""
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "stage"


def _assigned(node: ast.stmt) -> list[str]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        targets = [node.target]
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def _imported(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[tuple[str, Root]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            yield name, (alias.name if alias.asname else name, "")
        return
    source = node.module or ""
    if node.level:  # relative to the package that holds this module
        package = module.split(".")[: -node.level]
        source = ".".join([*package, *([source] if source else [])])
    for alias in node.names:
        yield alias.asname or alias.name, (source, alias.name)


@cache
def installed_code() -> Code:
    """The code as it lies on disk, read once a process."""
    return Code()
