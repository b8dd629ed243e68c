"""Which plugins there are, and loading one.

Two sources: entry points of the group ``edgeagent.plugins``, whose name is the job type, and ``*.py`` files in the
operator's plugin directory.  Finding them runs none of their code: the agent holds a key, and a plugin may import a
gigabyte of libraries.  A file is therefore parsed, not imported, and a ``job_type`` in it must be written as a plain
string.  Loading, in the job's own process, checks that what was found is what was promised.  A plugin that is broken
costs one line of explanation, never the node.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import attrs

from edgeagent.plugins.base import BaseWorkerPlugin
from edgeagent.plugins.channel import one_line

GROUP = "edgeagent.plugins"
#: Tells job processes where the operator's plugin files are.
PLUGIN_DIR_VARIABLE = "EDGEAGENT_PLUGIN_DIR"
#: Longest job type, in characters; the gateway takes no longer one.
MAX_JOB_TYPE_CHARS = 100
#: Largest plugin file that is read, in bytes.
MAX_FILE_BYTES = 1 << 20


class PluginError(Exception):
    """A plugin that cannot be used; the text says which and why in one line."""


@attrs.frozen
class Discovered:
    """What was found: where each job type's plugin is, and one line for each that cannot be used."""

    #: Job type to ``module:Class`` or ``/path/to/file.py:Class``.
    plugins: Mapping[str, str] = attrs.Factory(dict)
    errors: tuple[str, ...] = ()


def discover(plugin_dir: Path | None = None) -> Discovered:
    """Find the plugins of this environment and of ``plugin_dir``, without running any of their code.

    An entry point wins over a file with the same job type, and the file is an error.  A directory that does not exist
    holds no plugins.
    """
    plugins: dict[str, str] = {}
    errors: list[str] = []
    for job_type, spec in (*_from_entry_points(errors), *_from_files(plugin_dir, errors)):
        fault = _job_type_fault(job_type)
        if fault:
            errors.append(f"{spec}: {fault}")
        elif plugins.setdefault(job_type, spec) != spec:
            errors.append(f"{spec}: job type {job_type!r} is already provided by {plugins[job_type]}")
    return Discovered(plugins, tuple(errors))


def load(job_type: str, spec: str) -> type[BaseWorkerPlugin]:
    """Import the plugin at ``spec`` (a value of ``Discovered.plugins``) and return its class.

    Raises:
        PluginError: it cannot be imported, or is not a plugin for ``job_type``.
    """
    place, _, name = spec.rpartition(":")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        cls = getattr(module, name)
    except (Exception, SystemExit) as error:  # a plugin's module may do anything while it is imported
        raise PluginError(one_line(f"{spec} cannot be loaded: {type(error).__name__}: {error}")) from error
    if not (isinstance(cls, type) and issubclass(cls, BaseWorkerPlugin)):
        raise PluginError(f"{spec} is not a class derived from BaseWorkerPlugin")
    if getattr(cls, "job_type", None) != job_type:
        raise PluginError(f"{spec} is for job type {getattr(cls, 'job_type', None)!r}, not {job_type!r}")
    return cls


def plugin_dir_from(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the plugin directory that the environment names, or None."""
    value = environ.get(PLUGIN_DIR_VARIABLE, "")
    return Path(value) if value else None


def _from_entry_points(errors: list[str]) -> Iterator[tuple[str, str]]:
    for point in entry_points(group=GROUP):
        if EntryPoint.pattern.fullmatch(point.value) and point.attr:
            yield point.name, f"{point.module}:{point.attr}"
        else:
            errors.append(f"entry point {point.name!r}: {point.value!r} is not of the form module:Class")


def _from_files(plugin_dir: Path | None, errors: list[str]) -> Iterator[tuple[str, str]]:
    try:
        files = sorted(plugin_dir.glob("[!._]*.py")) if plugin_dir else []
    except OSError as error:
        errors.append(f"{plugin_dir}: {error.strerror}")
        return
    for file in files:
        try:
            found = list(_classes(file))
        except PluginError as error:
            errors.append(f"{file}: {error}")
        else:
            yield from ((job_type, f"{file}:{name}") for name, job_type in found)


def _classes(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and job type of each plugin class in a file, by reading it."""
    try:
        with file.open("rb") as stream:
            source = stream.read(MAX_FILE_BYTES + 1)
        if len(source) > MAX_FILE_BYTES:
            raise PluginError(f"larger than {MAX_FILE_BYTES} bytes")
        tree = ast.parse(source)
    except OSError as error:
        raise PluginError(error.strerror or "cannot be read") from None
    except SyntaxError as error:
        raise PluginError(f"not valid Python: {error.msg} (line {error.lineno})") from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, bad encoding, absurd nesting
        raise PluginError(one_line(f"not valid Python: {error}")) from None
    found = 0
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.bases:
            for value in _assigned(node, "job_type"):
                found += 1
                if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
                    raise PluginError(f"job_type of {node.name} must be written as a plain string")
                yield node.name, value.value
    if not found:
        raise PluginError("no class derived from BaseWorkerPlugin with a job_type in it")


def _assigned(node: ast.ClassDef, name: str) -> Iterator[ast.expr]:
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if value is not None and any(isinstance(target, ast.Name) and target.id == name for target in targets):
            yield value


def _job_type_fault(job_type: str) -> str | None:
    if not 1 <= len(job_type) <= MAX_JOB_TYPE_CHARS or not job_type.isprintable() or job_type != job_type.strip():
        return f"a job type is 1 to {MAX_JOB_TYPE_CHARS} printable characters"
    return None


def _import_file(file: Path) -> object:
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # last, so that a file named like a library does not hide it
    # Named apart from real modules: a plugin file called json.py must not become the json of everybody else.
    spec = importlib.util.spec_from_file_location(f"edgeagent_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError("not importable")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    spec.loader.exec_module(module)
    return module
