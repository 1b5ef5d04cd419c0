"""Whether dashboards have the types that Grafana's own package says they have: no field that it does not know, none
of another type, no word that is not in an enumeration. Arguments: files."""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.models.dashboard import Dashboard


def fail(path, what):
    sys.exit(f"{path}: {what}")


def kept(before, after, path):
    """What was read is written again: nothing was unknown."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                fail(path, f"no field {key}")
            kept(value, after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for n, pair in enumerate(zip(before, after)):
            kept(*pair, f"{path}[{n}]")
    elif before != after:
        fail(path, f"{before!r} is read as {after!r}")


def is_model(kind):
    return isinstance(kind, type) and hasattr(kind, "from_json")


def judge(value, kind, path):
    if isinstance(value, UnknownDataquery):
        fail(path, "a query of no known kind")
    if is_model(type(value)):
        return fields(value, path)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        kinds = [k for k in inner if k is not type(None)]
        if value is None or len(kinds) > 1:
            return None
        return judge(value, kinds[0], path)
    if origin is list:
        if not isinstance(value, list):
            fail(path, f"{value!r} is no list")
        for n, item in enumerate(value):
            judge(item, inner[0], f"{path}[{n}]")
    elif origin is typing.Literal:
        if value not in inner:
            fail(path, f"{value!r} is none of {inner}")
    elif origin is dict or kind in (object, typing.Any) or not isinstance(kind, type):
        return None
    elif issubclass(kind, enum.Enum):
        if value not in [member.value for member in kind]:
            fail(path, f"{value!r} is no {kind.__name__}")
    elif is_model(kind) and isinstance(value, dict):
        read(value, kind, path)
    elif kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            fail(path, f"{value!r} is no number")
    elif kind in (int, str, bool) and type(value) is not kind:
        fail(path, f"{value!r} is no {kind.__name__}")
    return None


def fields(model, path):
    for name, kind in typing.get_type_hints(type(model)).items():
        judge(getattr(model, name, None), typing.Optional[kind], f"{path}.{name}")


def read(data, kind, path):
    # from_json may change what it is given.
    model = kind.from_json(json.loads(json.dumps(data)))
    kept(data, json.loads(JSONEncoder(sort_keys=True).encode(model)), path)
    fields(model, path)


register_default_plugins()
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        read(json.load(file), Dashboard, name)
