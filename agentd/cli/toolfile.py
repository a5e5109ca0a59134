"""Loads the functions of a Python file that are to be offered as tools."""

import importlib.util
import inspect
import re
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agentd.client.functions import options_of
from agentd.errors import InvalidRequest, Reason


def load_functions(path: Path) -> Sequence[Callable[..., Any]]:
    """Return the functions of a file, in its order: those with `@tool`, and every other public one
    that is defined in it and serves no other tool as `reconcile` or `simulate`.

    Raises InvalidRequest (INVALID_FIELD) when the file cannot be imported or has no functions.
    """
    module_name = f"agentd_tools_{re.sub(r'[^a-zA-Z0-9]', '_', path.stem)}"
    spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    if spec is None or spec.loader is None or not path.is_file():
        raise _unusable(path, "it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    functions = [
        value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and (options_of(value) or (value.__module__ == module_name and not name.startswith("_")))
    ]
    helpers = [
        helper
        for function in functions
        if (options := options_of(function))
        for helper in (options.reconcile, options.simulate)
    ]
    offered = [function for function in functions if function not in helpers]
    if not offered:
        raise _unusable(path, "it defines no public functions")
    return offered


def toolset_for(path: Path) -> str:
    """Return a toolset id of this process's own: hosts of one toolset share its calls, and another
    process's file of the same name may hold other functions."""
    stem = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:40]
    if not stem[:1].isalpha():
        stem = f"tools-{stem}".strip("-")
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def _unusable(path: Path, why: str) -> InvalidRequest:
    return InvalidRequest(Reason.INVALID_FIELD, f"the tools of {path} cannot be used: {why}")
