"""The configs of the repository, by folder and name, such as 'cifar_lt/x' or 'cifar_lt/x@if50'."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path

from mmengine.config import Config

# Configs named 'mmseg::...' are found in the maintained packages once lt_mm is imported.
import lt_mm  # noqa: F401
from lt_mm.engine.launch import select_variant
from lt_mm.stages.read import read_stages

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
FILES = sorted(
    str(path.relative_to(CONFIGS).with_suffix(''))
    for path in CONFIGS.glob('**/*.py')
    if '_base_' not in path.parts
)


def path_of(name: str) -> Path:
    """File of a config or of a variant of it."""
    return CONFIGS / f'{name.partition("@")[0]}.py'


@cache
def _read(path: Path) -> Config:
    return Config.fromfile(path)


def load(name: str) -> Config:
    """A config, or the variant of it that is named after an @."""
    cfg = deepcopy(_read(path_of(name)))
    select_variant(cfg, name.partition('@')[2] or None)
    return cfg


def variants_of(name: str) -> tuple[str, ...]:
    """The variants of a config file, as names for :func:`load`."""
    return tuple(f'{name}@{variant}' for variant in _read(path_of(name)).get('variants') or {})


def with_variants(names: list[str]) -> list[str]:
    """The names, and those of their variants."""
    return [each for name in names for each in (name, *variants_of(name))]


def stages_of(name: str, folder: Path) -> list:
    """The trainings that one command does, the last one last."""
    cfg = load(name)
    cfg.work_dir, cfg.launcher = str(folder), 'none'
    return read_stages(cfg, ROOT)


def earlier(name: str, stage: str) -> str:
    """Name of the config of an earlier stage, which is of the same variant if it can be."""
    file, _, variant = name.partition('@')
    found = f'{Path(file).parent}/{Path(load(name).earlier_stages[stage].config).stem}'
    return f'{found}@{variant}' if f'{found}@{variant}' in variants_of(found) else found


def types(node: object) -> Iterator[str]:
    """Every value of a key ``type`` in a config."""
    if isinstance(node, dict):
        if isinstance(node.get('type'), str):
            yield node['type']
        for value in node.values():
            yield from types(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from types(value)
