"""Keep every piece small enough to be read at once."""

import ast

from tests.tidy.tree import Function, functions, sources

FILE_LINES = 500
CLASS_LINES = 250
FUNCTION_LINES = 60
PARAMETERS = 6
NESTING = 3

ALLOWED = {
    "agentd/client/functions.py:tool parameters": "each says one thing of a tool, by its name",
    "agentd/runtime/asking.py:Asking.__init__ parameters": "it joins what a request is made of",
    "agentd/runtime/starting.py:Starting.__init__ parameters": "it joins what a run is made of",
    "agentd/runtime/engine.py:Engine.__init__ parameters": "it joins the parts of the runtime",
    "tests/fakes/runs.py:create_run parameters": "each test names the one thing it is about",
}
"""What may be larger, as `path:name kind`, and why. Sizes in lines have no exceptions; many
parameters and deep nesting are where to think again, and then to say here why they stay."""

BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match)


def parameter_count(function: Function) -> int:
    """Count what a caller can pass; `self` and `cls` are not passed."""
    spec = function.args
    names = [argument.arg for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
    bound = bool(names) and names[0] in {"self", "cls"}
    return len(names) - bound + (spec.vararg is not None) + (spec.kwarg is not None)


def nesting(node: ast.AST) -> int:
    """Return how many branches and loops stand inside each other. `elif` goes no deeper, and
    `with` neither: it brackets a stretch of the function without a second way through it."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        elif_ = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        step = isinstance(child, BRANCHES) and not elif_
        deepest = max(deepest, nesting(child) + step)
    return deepest


def uneasy() -> set[str]:
    """Name every function that has many parameters or nests deeply."""
    found = set()
    for source in sources():
        for name, function in functions(source):
            if parameter_count(function) > PARAMETERS:
                found.add(f"{source.path}:{name} parameters")
            if nesting(function) > NESTING:
                found.add(f"{source.path}:{name} nesting")
    return found


def test_files_are_short() -> None:
    counts = {source.path: source.text.count("\n") for source in sources()}
    assert {path: count for path, count in counts.items() if count > FILE_LINES} == {}


def lines_of(*kinds: type[ast.ClassDef | Function]) -> dict[str, int]:
    """Return the length of each definition of these kinds, without its decorators."""
    return {
        f"{source.path}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, kinds)
    }


def test_classes_are_short() -> None:
    classes = lines_of(ast.ClassDef)
    assert {name: lines for name, lines in classes.items() if lines > CLASS_LINES} == {}


def test_functions_are_short() -> None:
    spans = lines_of(ast.FunctionDef, ast.AsyncFunctionDef)
    assert {name: lines for name, lines in spans.items() if lines > FUNCTION_LINES} == {}


def test_parameters_and_nesting_are_few_or_argued() -> None:
    assert uneasy() == set(ALLOWED)
