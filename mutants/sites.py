"""Every small mistake that somebody could have made in a module, one at a time.

A **mutant** is a module with one of them in it: a comparison that is off by one, a condition left
out, another state of the same enum, a keyword argument forgotten, a row of a table missing. It is
found in the syntax tree and made in memory; nothing on disk is touched.

What is left alone, because no test can or should hold it: annotations, docstrings, decorators,
`assert` (it narrows a type here), `strict=` of zip (an assertion, too), aliases of types, and the
words of a ValueError or TypeError (a fault of ours, which no client sees).
"""

import ast
import copy
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PACKAGES = ("domain", "ledger")
CONTROL = "nothing is wrong"

_OTHER: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv,),
    ast.FloorDiv: (ast.Mult,),
    ast.Div: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
_OTHER_FUNCTION = {"min": "max", "max": "min", "any": "all", "all": "any"}
_OUR_FAULT = {"ValueError", "TypeError", "AssertionError", "NotImplementedError"}
_OF_TYPES = {"NewType", "TypeVar", "Literal", "Annotated"}
_NOT_VISITED = {"annotation", "returns", "decorator_list", "type_params", "bases"}


class Mutant(NamedTuple):
    """`name` says where and what; `function` and `line` are of the function that holds it, "" and 0
    for the module's own level: tables, defaults, fields."""

    name: str
    function: str
    line: int
    parent: ast.AST
    field: str
    at: int | None
    node: ast.AST

    def control(self) -> "Mutant":
        """The same, without the mistake."""
        value = getattr(self.parent, self.field)
        return self._replace(name=CONTROL, node=value if self.at is None else value[self.at])

    def plant(self) -> None:
        """Put it into its tree, for good."""
        if self.at is None:
            setattr(self.parent, self.field, self.node)
        else:
            getattr(self.parent, self.field)[self.at] = self.node


class Module:
    """One module of ours, its syntax tree, and the mutants that can be made of it."""

    def __init__(self, path: Path, enums: dict[str, list[str]]) -> None:
        self.path, self._enums = path, enums
        self.name = f"{path.parent.name}.{path.stem}"
        self.tree = ast.parse(path.read_text())
        self._named: dict[str, int] = {}
        self.mutants = list(self._within(self.tree, _Place("", "", 0)))

    def compiled(self) -> CodeType:
        """The module's code, with what was planted."""
        code = compile(ast.fix_missing_locations(self.tree), str(self.path), "exec")
        assert isinstance(code, CodeType)
        return code

    def _within(self, parent: ast.AST, place: "_Place") -> Iterator[Mutant]:
        for field, value in ast.iter_fields(parent):
            if field in _NOT_VISITED or (field == "keywords" and isinstance(parent, ast.ClassDef)):
                continue
            inside = place.inside(parent, field)
            several = isinstance(value, list)
            for index, node in enumerate(value if several else [value]):
                if not isinstance(node, ast.AST) or _untouchable(parent, node, place.line):
                    continue
                for other in self._others(parent, node):
                    ast.copy_location(other, node)
                    name = self._name(inside.shown, parent, node, other)
                    at = index if several else None
                    yield Mutant(name, inside.function, inside.line, parent, field, at, other)
                yield from self._within(node, inside)

    def _name(self, where: str, parent: ast.AST, node: ast.AST, other: ast.AST) -> str:
        before, after = _text(node), _text(other)
        if isinstance(node, (ast.Constant, ast.Attribute)) and _text(parent):
            before = f"{before} in {_text(parent)}"
        name = f"{where or 'module'}: {before} -> {after}"
        self._named[name] = number = self._named.get(name, 0) + 1
        return name if number == 1 else f"{name} #{number}"

    def _others(self, parent: ast.AST, node: ast.AST) -> Iterator[ast.AST]:
        """What could stand in the place of `node` by mistake."""
        yield from _statements(node) if isinstance(node, ast.stmt) else self._expressions(node)
        if _is_condition(parent, node) and not isinstance(node, (ast.Compare, ast.BoolOp)):
            assert isinstance(node, ast.expr)
            yield ast.UnaryOp(ast.Not(), node)

    def _expressions(self, node: ast.AST) -> Iterator[ast.AST]:  # noqa: PLR0912  # a table
        match node:
            case ast.Compare():
                for i, op in enumerate(node.ops):
                    for other in _OTHER[type(op)]:
                        yield _with(node, ops=_put(node.ops, i, other()))
            case ast.BinOp():
                for other in _OTHER[type(node.op)]:
                    yield _with(node, op=other())
            case ast.BoolOp():
                yield _with(node, op=_OTHER[type(node.op)][0]())
                for i in range(len(node.values)):
                    rest = _without(node.values, i)
                    yield rest[0] if len(rest) == 1 else _with(node, values=rest)
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                yield node.operand
            case ast.Constant():
                yield from _constants(node)
            case ast.Call():
                yield from self._calls(node)
            case ast.Dict(keys=[_, *_]):
                for i in range(len(node.keys)):
                    keys, values = _without(node.keys, i), _without(node.values, i)
                    yield _with(node, keys=keys, values=values)
            case ast.Set(elts=[_, _, *_]) | ast.List(elts=[_, *_]) | ast.Tuple(elts=[_, *_]):
                if isinstance(getattr(node, "ctx", None), ast.Store):
                    return
                for i in range(len(node.elts)):
                    yield _with(node, elts=_without(node.elts, i))
            case ast.Attribute(value=ast.Name(id=enum), attr=member):
                members = self._enums.get(enum, [])
                if member in members:
                    following = members[(members.index(member) + 1) % len(members)]
                    yield _with(node, attr=following)

    @staticmethod
    def _calls(node: ast.Call) -> Iterator[ast.AST]:
        if isinstance(node.func, ast.Name) and node.func.id in _OTHER_FUNCTION:
            yield _with(node, func=ast.Name(_OTHER_FUNCTION[node.func.id], ast.Load()))
        for i, keyword in enumerate(node.keywords):
            if keyword.arg not in (None, "strict"):
                yield _with(node, keywords=_without(node.keywords, i))


class _Place(NamedTuple):
    """Where we are in a module: as it is shown, and the outermost function around it."""

    shown: str
    function: str
    line: int

    def inside(self, parent: ast.AST, field: str) -> "_Place":
        """The place of what `field` of `parent` is."""
        if isinstance(parent, ast.ClassDef) and field == "body":
            return self._replace(shown=f"{self.shown}.{parent.name}".lstrip("."))
        if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)) and field == "body":
            first = min([parent.lineno, *(one.lineno for one in parent.decorator_list)])
            # Functions of one name, told apart by what they are for: see functools.singledispatch.
            told = f"_({_text(parent.args.args[0])})" if parent.name == "_" else parent.name
            name = f"{self.shown}.{parent.name}".lstrip(".")
            shown = f"{self.shown}.{told}".lstrip(".")
            return _Place(shown, self.function or name, self.line or first)
        return self


def modules() -> list[Module]:
    """All modules of the rules and of the ledger."""
    folders = [ROOT / "src" / "earnest" / name for name in PACKAGES]
    paths = [path for folder in folders for path in sorted(folder.glob("[a-z]*.py"))]
    trees = [ast.parse(path.read_text()) for path in paths]
    enums = {
        node.name: [one.targets[0].id for one in node.body if isinstance(one, ast.Assign)]  # type: ignore[attr-defined]
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id.endswith("Enum") for base in node.bases)
    }
    return [Module(path, enums) for path in paths]


def _untouchable(parent: ast.AST, node: ast.AST, line: int) -> bool:
    match node:
        case ast.Assert() | ast.Expr(value=ast.Constant()) | ast.keyword(arg="strict"):
            return True
        case ast.Call(func=ast.Name(id=name)) if isinstance(parent, ast.Raise):
            return name in _OUR_FAULT
        case ast.Call(func=ast.Name(id=name)):
            return name in _OF_TYPES
        case ast.Subscript(ctx=ast.Load()):
            return line == 0 and isinstance(node.slice, (ast.Name, ast.Tuple))
        case ast.BinOp(op=ast.BitOr()):
            return line == 0 and not isinstance(node.left, ast.Constant)
    return False


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    match node.value:
        case bool():
            yield ast.Constant(not node.value)
        case int():
            yield ast.Constant(node.value + 1)
        case str() | bytes():
            yield ast.Constant(node.value + (b"X" if isinstance(node.value, bytes) else "X"))  # type: ignore[operator]


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.AugAssign():
            for other in _OTHER[type(node.op)]:
                yield _with(node, op=other())
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Expr() | ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
        case ast.Match(cases=[_, _, *_]):
            for i in range(len(node.cases)):
                yield _with(node, cases=_without(node.cases, i))


def _is_condition(parent: ast.AST, node: ast.AST) -> bool:
    test = getattr(parent, "test", None)
    if isinstance(parent, ast.comprehension):
        return node in parent.ifs
    return test is node and isinstance(parent, (ast.If, ast.While, ast.IfExp))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _put(values: list, index: int, value: object) -> list:  # type: ignore[type-arg]
    return [*values[:index], value, *values[index + 1 :]]


def _without(values: list, index: int) -> list:  # type: ignore[type-arg]
    return [*values[:index], *values[index + 1 :]]


def _text(node: ast.AST) -> str:
    """The node on one line, cut where it gets long."""
    try:
        text = " ".join(ast.unparse(node).split())
    except (AttributeError, ValueError):
        return ""
    return text if len(text) <= 100 else f"{text[:70]} ... {text[-25:]}"
