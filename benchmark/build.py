"""From a config node with `_target_` to a checked object: import allow-list, signature binding, all errors at once.

Hydra's instantiate is not used: it would call anything importable, and it reports one mistake at a time.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import msgspec

from benchmark.errors import Problem, closest, some

OWN_PACKAGE = "benchmark"


def build(
    spec: Mapping[str, Any], protocols: Sequence[type], where: str, plugins: Sequence[str]
) -> tuple[Any, list[Problem]]:
    """Return the object that `spec` describes and no problems, or None and every problem found.

    `spec` holds `_target_` and the keyword arguments; `protocols` are the kinds of object the place can take; `where` is the
    config key to blame.
    """
    target = spec.get("_target_")
    if not isinstance(target, str):
        return None, [Problem(where, "names no class", fix=f"set {where}._target_ to package.module.Class")]
    cls, problems = resolve(target, where, plugins)
    if cls is None:
        return None, problems
    given = {key: value for key, value in spec.items() if key != "_target_"}
    arguments, problems = bind(cls, given, where)
    if problems:
        return None, problems
    try:
        component = cls(**arguments)
    except (ValueError, TypeError) as error:
        return None, [Problem(where, f"{target} refuses its arguments: {error}")]
    missing = min((_missing(component, protocol) for protocol in protocols), key=len)
    if missing:
        kind = " or ".join(protocol.__name__ for protocol in protocols)
        return None, [Problem(where, f"{target} is no {kind}: it lacks {some(missing)}")]
    return component, []


def resolve(target: str, where: str, plugins: Sequence[str]) -> tuple[type | None, list[Problem]]:
    """Return the class that a dotted path names, if it is defined in `benchmark` or in one of the plugins' packages."""
    where = f"{where}._target_"
    allowed = [OWN_PACKAGE, *plugins]
    module_name, _, name = target.rpartition(".")
    if module_name.split(".")[0] not in allowed:
        package = module_name.split(".")[0] or target
        fix = f"if {package} is your package, add it: plugins=[{package}]"
        return None, [Problem(where, "outside the packages that may be imported", target, some(allowed), fix)]
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        return None, [Problem(where, f"can't be imported: {error}", target)]
    cls = getattr(module, name, None)
    if not inspect.isclass(cls) or cls.__module__.split(".")[0] not in allowed:
        own = [key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module_name]
        return None, [Problem(where, "names no class of that module", target, some(own), closest(name, own))]
    return cls, []


def bind(
    function: Callable[..., Any], arguments: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the arguments converted to the annotated types of `function`, and a problem for each that can't be."""
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(_annotated(function), include_extras=True)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    names = [name for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    bound, problems = {}, []
    prefix = f"{where}." if where else ""
    for name, value in arguments.items():
        if name not in names:
            if takes_any:
                bound[name] = value
                continue
            fix = closest(name, names)
            problems.append(Problem(f"{prefix}{name}", "unknown option", repr(value), some(names), fix))
            continue
        try:
            bound[name] = convert(value, hints.get(name, Any))
        except msgspec.ValidationError as error:
            problems.append(Problem(f"{prefix}{name}", _lower_first(str(error)), repr(value)))
    for name in names:
        if name not in arguments and parameters[name].default is inspect.Parameter.empty:
            problems.append(Problem(f"{prefix}{name}", "is required and not given", fix=f"set {prefix}{name}=..."))
    return bound, problems


def convert(value: Any, annotation: Any) -> Any:
    """Return `value` as the annotated type; types that msgspec does not know are taken as they are."""
    try:
        return msgspec.convert(value, annotation)
    except TypeError:
        return value


def _annotated(function: Callable[..., Any]) -> Any:
    generated = hasattr(function, "__dataclass_fields__") or hasattr(function, "__struct_fields__")
    return function if generated or not inspect.isclass(function) else function.__init__


def _missing(component: object, protocol: type) -> list[str]:
    members = {name for name in (*vars(protocol), *getattr(protocol, "__annotations__", {})) if name[0] != "_"}
    return sorted(name for name in members if not hasattr(component, name))


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
