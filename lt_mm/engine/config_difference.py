"""Where the configs of two trainings differ."""

import ast
from collections.abc import Collection, Mapping
from typing import Any


def settings_of(text: str) -> dict[str, Any]:
    """Read the text of a config, as ``Config.pretty_text`` writes it, without running it.

    Args:
        text: assignments of dicts, lists, tuples and constants. What else there is stays text.

    Raises:
        SyntaxError: if it is no Python.
    """
    return {
        target.id: _value(line.value)
        for line in ast.parse(text).body
        if isinstance(line, ast.Assign)
        for target in line.targets
        if isinstance(target, ast.Name)
    }


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        merged = {word.arg: _value(word.value) for word in node.keywords}
        for part in map(_value, node.args):
            merged.update(part if isinstance(part, Mapping) else {})
        return merged
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {
            _value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)
        }
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(part) for part in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def first_difference(old: Any, new: Any, key: str = '') -> tuple[str, str, str] | None:
    """Find where two nested structures of dicts and lists differ.

    Args:
        old: One of them.
        new: The other.
        key: Dotted path of both.

    Returns:
        Path and both values, shortened; None if they are equal.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        missing = _Missing()
        pairs = {name: (old.get(name, missing), new.get(name, missing)) for name in {**old, **new}}
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        pairs = dict(enumerate(zip(old, new, strict=True)))
    else:
        return None if old == new else (key, f'{old!r:.80}', f'{new!r:.80}')
    found = (first_difference(*pair, f'{key}.{name}'.lstrip('.')) for name, pair in pairs.items())
    return next(filter(None, found), None)


def without(value: Any, keys: Collection[str]) -> Any:
    """A copy of nested dicts and lists that lacks some keys wherever they are.

    Args:
        value: What is copied.
        keys: Of dicts.
    """
    if isinstance(value, Mapping):
        return {key: without(part, keys) for key, part in value.items() if key not in keys}
    if isinstance(value, (list, tuple)):
        return [without(part, keys) for part in value]
    return value


class _Missing:
    def __repr__(self) -> str:
        return 'nothing'
