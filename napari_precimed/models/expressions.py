"""Expressions in a bundle's configuration that are harmless, and their values.

MONAI hands an expression, a text that begins with ``$``, to Python. Here only arithmetic on
literals and references is understood, a few functions of torch without side effects, a lambda made
of those, ``reference.to(...)``, and torch's own layers put together; nothing else has a meaning. An
attribute, a method or a name outside these lists makes the expression one that wants to run code.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from napari_precimed.models.permitted import is_part_of_torch, permitted_class

REFERENCE = re.compile(r"@\w*(?:::\w*)*")
"""As in MONAI, after "#" has become "::"."""

_PLACE = "reference_{}_"
_BUILTINS = frozenset(
    (
        "int",
        "float",
        "str",
        "bool",
        "len",
        "list",
        "tuple",
        "range",
        "sum",
        "min",
        "max",
        "abs",
        "round",
        "sorted",
        "any",
        "all",
    )
)
_PURE = (
    "abs", "all", "amax", "amin", "any", "argmax", "argmin", "cat", "clamp", "eq", "ge", "gt",
    "le", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "max", "mean", "min",
    "ne", "ones_like", "round", "sigmoid", "softmax", "squeeze", "stack", "sum", "tensor",
    "unsqueeze", "where", "zeros_like",
)  # fmt: skip
_TYPES = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")
_NODES = (
    ast.Expression, ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.UnaryOp, ast.BinOp, ast.BoolOp,
    ast.Compare, ast.IfExp, ast.Subscript, ast.Slice, ast.Load, ast.unaryop, ast.boolop, ast.cmpop,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr, ast.BitXor,
    ast.keyword, ast.arguments, ast.arg,
)  # fmt: skip


def _known() -> dict[str, Any]:
    """Dotted name -> what it stands for."""
    known: dict[str, Any] = {f"torch.{name}": getattr(torch, name) for name in _PURE}
    for name in _TYPES:
        known[f"torch.{name}"] = getattr(torch, name)
        known[f"np.{name}"] = known[f"numpy.{name}"] = getattr(np, name)
    known["torch.device"] = torch.device
    known["torch.cuda.is_available"] = torch.cuda.is_available
    known["torch.long"], known["torch.float"] = torch.int64, torch.float32
    known["np.inf"] = known["numpy.inf"] = np.inf
    return known


_KNOWN = _known()


class WantsCodeError(ValueError):
    """The expression is not one of the harmless ones."""


class Expression:
    """A harmless expression.

    Parameters
    ----------
    text : str
        With its "$".

    Attributes
    ----------
    references : tuple of str
        The ids of what it refers to.

    Raises
    ------
    WantsCodeError
        If it is not harmless.
    """

    def __init__(self, text: str) -> None:
        found: list[str] = []

        def place(match: re.Match[str]) -> str:
            found.append(match[0][1:])
            return _PLACE.format(len(found) - 1)

        source = REFERENCE.sub(place, text[1:].replace("#", "::")).strip()
        self.references = tuple(found)
        try:
            tree = _Harmless(len(found)).visit(ast.parse(source, mode="eval"))
        except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
            raise WantsCodeError(text[1:]) from error
        self._code = compile(ast.fix_missing_locations(tree), "<bundle>", "eval")

    def value(self, resolve: Callable[[str], Any]) -> Any:
        """Its value; `resolve` gives that of each reference it makes use of."""
        places = {_PLACE.format(k): resolve(name) for k, name in enumerate(self.references)}
        return eval(self._code, {"__builtins__": {}, **_NAMES, **places})


class _Harmless(ast.NodeTransformer):
    """Replaces every name by one of `_NAMES`, and raises where that cannot be done."""

    def __init__(self, references: int) -> None:
        self._open = {_PLACE.format(k) for k in range(references)}

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, _NODES):
            raise WantsCodeError(type(node).__name__)
        return super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id not in self._open:
            raise WantsCodeError(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.copy_location(_name_of(ast.unparse(node)), node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        taken = node.args
        names = {each.arg for each in taken.args}
        odd = taken.vararg or taken.kwarg or taken.kwonlyargs or taken.defaults
        if odd or any(name in _BUILTINS or name.startswith("_") for name in names):
            raise WantsCodeError("lambda")
        before, self._open = self._open, self._open | names
        node.body = self.visit(node.body)
        self._open = before
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        arguments = [self.visit(each) for each in node.args]
        if any(each.arg is None for each in node.keywords):
            raise WantsCodeError("**")
        keywords = [self.visit(each) for each in node.keywords]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "to":
            arguments.insert(0, self.visit(node.func.value))
            function: ast.expr = _load("_to")
        elif isinstance(node.func, ast.Name) and node.func.id in _BUILTINS:
            function = _load(f"_{node.func.id}")
        elif isinstance(node.func, ast.Attribute):
            function = _function_of(ast.unparse(node.func))
        else:
            raise WantsCodeError("call")
        return ast.copy_location(ast.Call(function, arguments, keywords), node)


def _name_of(dotted: str) -> ast.expr:
    if dotted not in _KNOWN:
        raise WantsCodeError(dotted)
    return _load(_place_of(dotted))


def _function_of(dotted: str) -> ast.expr:
    if dotted in _KNOWN:
        return _load(_place_of(dotted))
    found = permitted_class(dotted)
    if found is None or not is_part_of_torch(found):
        raise WantsCodeError(dotted)
    _NAMES.setdefault(_place_of(dotted), found)
    return _load(_place_of(dotted))


def _place_of(dotted: str) -> str:
    return f"_known_{dotted.replace('.', '_dot_')}"


def _load(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


def _to(what: Any, *where: Any, **how: Any) -> Any:
    """`what.to(...)` of a network or a tensor."""
    if not isinstance(what, (torch.nn.Module, torch.Tensor)):
        raise TypeError(f"{type(what).__name__} has no device")
    return what.to(*where, **how)


_NAMES: dict[str, Any] = {
    "_to": _to,
    **{f"_{name}": getattr(builtins, name) for name in _BUILTINS},
    **{_place_of(name): value for name, value in _KNOWN.items()},
}
