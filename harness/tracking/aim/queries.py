"""Queries of Aim's pages: comparisons of what a run has, so that each ends at once."""

import ast

LONGEST = 1 << 15
ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.Eq, ast.NotEq,
    ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot, ast.Name, ast.Attribute, ast.Subscript,
    ast.Constant, ast.Tuple, ast.List, ast.Load, ast.Call,
)  # fmt: skip
METHODS = frozenset({"startswith", "endswith", "lower", "upper", "strip", "get"})
FUNCTIONS = frozenset({"datetime", "str", "int", "float", "bool", "len", "abs"})


def query_mistake(query: str) -> str | None:
    """Why a query is not passed on; None: it is a comparison.

    Aim evaluates queries as Python, without a limit of time: `9**9**7 > 0` never ends.
    """
    if len(query) > LONGEST:
        return f"a query may have {LONGEST} characters, this one has {len(query)}"
    if not query.strip():
        return None
    try:
        tree = ast.parse(query.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "the query is no expression"
    for node in ast.walk(tree):
        if not isinstance(node, ALLOWED):
            return f"a query may compare and combine, {type(node).__name__} is not passed on to Aim"
        if isinstance(node, ast.Call) and not _is_known(node.func):
            return f"a query may call {', '.join(sorted(METHODS | FUNCTIONS))} only"
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            return f"a query may not use {node.attr}"
    return None


def _is_known(called: ast.expr) -> bool:
    if isinstance(called, ast.Attribute):
        return called.attr in METHODS
    return isinstance(called, ast.Name) and called.id in FUNCTIONS
