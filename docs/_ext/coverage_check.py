"""Fail the build on public names that have no docstring or no place on the API pages."""

import importlib
import inspect
import pkgutil

from sphinx.util import logging

import kipsk

logger = logging.getLogger(__name__)


def public_modules():
    """Return the modules that define `__all__` and have no private name in their path."""
    names = ["kipsk"]
    for module in pkgutil.walk_packages(kipsk.__path__, "kipsk."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            names.append(module.name)
    modules = [importlib.import_module(name) for name in names]
    return [module for module in modules if hasattr(module, "__all__")]


def without_docstring(name, value):
    """Return the names without a docstring: of the object itself and of its public methods."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return []  # an alias of a type, which the API page describes
    missing = [] if (value.__doc__ or "").strip() else [name]
    if inspect.isclass(value):
        own = [base for base in value.__mro__ if base.__module__.startswith("kipsk.")]
        methods = {key for base in own for key in vars(base) if not key.startswith("_")}
        for key in sorted(methods):
            member = inspect.getattr_static(value, key)
            is_method = callable(getattr(value, key, None)) or isinstance(member, property)
            if is_method and not inspect.getdoc(member):
                missing.append(f"{name}.{key}")
    return missing


def check(app, env):
    """Warn about each public name that is not documented."""
    documented = set(env.get_domain("py").objects)
    for module in public_modules():
        for key in module.__all__:
            name = f"{module.__name__}.{key}"
            if key.startswith("__"):
                continue
            for missing in without_docstring(name, getattr(module, key)):
                logger.warning("%s is public and has no docstring", missing, type="coverage")
            if name not in documented:
                logger.warning("%s is public and not in docs/api", name, type="coverage")


def setup(app):
    """Register the check."""
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
