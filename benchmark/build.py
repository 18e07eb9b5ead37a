"""From a config node with `_target_` to a checked object: import allow-list, signature binding, all errors at once.

Hydra's instantiate is not used: it would call anything importable, and it reports one mistake at a time.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from benchmark.errors import Problem, UserError, blame, closest, some

OWN_PACKAGE = "benchmark"
WORDS = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    dict: "settings (key: value)",
}


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
    if problems := _unlike(cls, protocols, where, target):
        return None, problems
    arguments, problems = bind(cls, arguments_of(spec), where)
    if problems:
        return None, problems
    try:
        component = cls(**arguments)
    except UserError as error:
        return None, error.problems
    except Exception as error:  # noqa: BLE001 - a component's own code; whatever it says, the user must hear it
        return None, [Problem(where, f"{target} refuses its arguments: {blame(error)}")]
    problems = _unlike(component, protocols, where, target)
    return (None, problems) if problems else (component, [])


def arguments_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments in a spec."""
    return {key: value for key, value in spec.items() if key != "_target_"}


def resolve(target: str, where: str, plugins: Sequence[str]) -> tuple[type | None, list[Problem]]:
    """Return the class that a dotted path names, if it is defined in `benchmark` or in one of the plugins' packages."""
    where = f"{where}._target_"
    allowed = [OWN_PACKAGE, *plugins]
    module_name, _, name = target.rpartition(".")
    package = module_name.split(".")[0]
    if package not in allowed:
        fix = f"if {package} is your package, add it: plugins=[{package}]" if package else "package.module.Class"
        return None, [Problem(where, "outside the packages that may be imported", target, some(allowed), fix)]
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin does while it is imported
        return None, [Problem(where, f"can't be imported: {blame(error)}", target)]
    cls = getattr(module, name, None)
    if not inspect.isclass(cls) or cls.__module__.split(".")[0] not in allowed:
        own = [key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module_name]
        return None, [Problem(where, f"names no class of {module_name}", target, some(own), closest(name, own))]
    return cls, []


def bind(
    function: Callable[..., Any], arguments: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the arguments converted to the annotated types of `function`, and a problem for each that can't be."""
    parameters = inspect.signature(function).parameters
    hints = _hints(function)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    names = [name for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    prefix = f"{where}." if where else ""
    bound: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in arguments.items():
        if name in names:
            try:
                bound[name] = convert(value, hints.get(name, Any))
            except msgspec.ValidationError as error:
                problems.append(_mistyped(f"{prefix}{name}", value, hints[name], str(error)))
        elif takes_any:
            bound[name] = value
        else:
            fix = closest(name, names, prefix)
            problems.append(
                Problem(f"{prefix}{name}", "unknown option", plainly(value), some(names, 30) or "none", fix)
            )
    for name in names:
        if name not in arguments and parameters[name].default is inspect.Parameter.empty:
            problems.append(Problem(f"{prefix}{name}", "is required and not given", fix=f"set {prefix}{name}=..."))
    return bound, problems


def convert(value: Any, annotation: Any) -> Any:
    """Return `value` as the annotated type; types that msgspec does not know are taken as they are."""
    try:
        return msgspec.convert(value, annotation, dec_hook=_special)
    except TypeError:
        return value


def plainly(value: Any) -> str:
    """Return a value as it stands in YAML and on the command line."""
    return "null" if value is None else repr(value).lower() if isinstance(value, bool) else repr(value)


def in_words(hint: Any) -> str:
    """Return what a type annotation allows, as a user would say it."""
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        return in_words(arguments[0]) + "".join(_bounds(meta) for meta in arguments[1:])
    if get_origin(hint) is Literal:
        return " or ".join(str(value) for value in arguments)
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(in_words(argument) for argument in arguments)
    if get_origin(hint) in (list, tuple, set, Sequence):
        return f"a list ({in_words(arguments[0])})"
    plain = get_origin(hint) or hint
    return WORDS.get(plain, str(getattr(plain, "__name__", plain)))


def _bounds(meta: Any) -> str:
    limits = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [f"{sign} {bound}" for key, sign in limits.items() if (bound := getattr(meta, key, None)) is not None]
    return f" {' and '.join(found)}" if found else ""


def _mistyped(where: str, value: Any, hint: Any, said: str) -> Problem:
    allowed = in_words(hint)
    literals = [str(x) for part in (hint, *get_args(hint)) if get_origin(part) is Literal for x in get_args(part)]
    fix = closest(str(value), literals)
    if not fix and "text" in allowed.split(" or ") and isinstance(value, (int, float)):
        fix = f"""to give it as text: '{where}="{value}"'"""
    at = f" (at {said.rpartition('`$')[2].strip('`')})" if "`$" in said else ""
    of_its_kind = isinstance(value, (int, float)) and not isinstance(value, bool) and "number" in allowed
    wrong = "value out of range" if of_its_kind and any(c in said for c in "<>") else f"wrong value{at}"
    return Problem(where, wrong, plainly(value), allowed, fix)


def _special(kind: type, value: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    if isinstance(value, kind):
        return value
    raise ValueError(f"Expected `{kind.__name__}`")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    generated = hasattr(function, "__dataclass_fields__") or hasattr(function, "__struct_fields__")
    annotated: Any = function if generated or not inspect.isclass(function) else function.__init__
    try:
        return get_type_hints(annotated, include_extras=True)
    except (NameError, TypeError):  # names that only a type checker imports: their arguments are taken as they are
        return {}


def _unlike(candidate: Any, protocols: Sequence[type], where: str, target: str) -> list[Problem]:
    """Return a problem if a class (its methods) or an object (all its members) fits none of the protocols."""
    missing = min((_missing(candidate, protocol) for protocol in protocols), key=len)
    if not missing:
        return []
    kind = " or ".join(protocol.__name__ for protocol in protocols)
    return [Problem(where, f"{target} is no {kind}: it lacks {some(missing)}")]


def _missing(candidate: Any, protocol: type) -> list[str]:
    members = {name: value for name, value in vars(protocol).items() if name[0] != "_"}
    if inspect.isclass(candidate):
        members = {name: value for name, value in members.items() if inspect.isfunction(value)}
    else:
        members |= dict.fromkeys(getattr(protocol, "__annotations__", {}))
    return sorted(name for name in members if name[0] != "_" and not hasattr(candidate, name))
