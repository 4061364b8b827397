"""The configs of the trainings that a config builds on."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lt_mm.engine.launch import load_config, stop
from lt_mm.stages.stage import GIFTS, Stage

_LAST = 'last'
_SETTINGS = ('config', 'gives', 'to', 'checkpoint', 'cfg_options', 'variant')


def read_stages(cfg: Config, root: Path) -> list[Stage]:
    """Read the configs that ``earlier_stages`` of a config names.

    Each stage trains in ``<work_dir>/<name>``, in as many processes as the last one, and with its
    ``randomness`` and ``env_cfg`` unless its own ``cfg_options`` say otherwise. The stages that the
    config of a stage names itself come before it. Where the last stage is a variant, so are the
    earlier ones whose config has a variant of that name, or the one that their entry names.

    Args:
        cfg: Config of the last stage, with ``work_dir`` and ``launcher`` set.
        root: Repository root; configs are looked for beside the config that names them, then in
            its folder ``configs``.

    Returns:
        In the order of training, the last stage included. Those in whose place a user
        gave a checkpoint are marked as skipped.

    Raises:
        SystemExit: if an entry of ``earlier_stages`` cannot be understood.
    """
    stages = _read(Stage(_LAST, cfg, variant=cfg.get('variant')), root, (cfg.filename,))
    for stage in reversed(stages[:-1]):
        asking = [taker for taker in stage.takers if taker.skipped is None]
        given = [taker.given(stage.gives) for taker in asking]
        if all(given):
            stage.skipped = f'{given[0]} is given' if given else f'as stage {stage.takers[0].name}'
    return stages


def _read(owner: Stage, root: Path, chain: tuple[str, ...]) -> list[Stage]:
    """The stages before ``owner`` and itself; ``chain`` holds the configs that led to it."""
    entries = owner.cfg.get('earlier_stages') or {}
    if not isinstance(entries, Mapping):
        stop(
            f'earlier_stages of {owner.cfg.filename} is a {type(entries).__name__}: make it a dict '
            f'of name=dict(config=..., gives=...).'
        )
    takers: dict[str, Stage] = {_LAST: owner}
    stages: list[Stage] = [owner]
    # From the last one, so that those a stage gives to are known.
    for name, entry in reversed([(name, entry) for name, entry in entries.items() if entry]):
        _check_entry(owner, name, entry)
        stage = _load(owner, name, entry, root)
        for taker in _names(entry.get('to', _LAST)):
            if taker not in takers:
                stop(
                    f'to={taker!r} of earlier_stages.{name} in {owner.cfg.filename} is no later '
                    f'stage: choose from {", ".join(takers)}.'
                )
            _connect(stage, takers[taker])
        if stage.cfg.get('earlier_stages') and stage.cfg.filename in chain:
            stop(
                f'{stage.cfg.filename} has itself as earlier stage {stage.name}: end that with '
                f'cfg_options=dict(earlier_stages=None) in the stage.'
            )
        stages = [*_read(stage, root, (*chain, stage.cfg.filename)), *stages]
        takers[name] = stage
    return stages


def _check_entry(owner: Stage, name: str, entry: Any) -> None:
    where = f'earlier_stages.{name} in {owner.cfg.filename}'
    if name == _LAST or not re.fullmatch(r'[\w-]+', name):
        stop(f'{where} is no name for a stage: take letters, digits, _ and -, but not "{_LAST}".')
    if not isinstance(entry, Mapping) or 'config' not in entry:
        stop(f'{where} names no config: make it dict(config=..., gives=...).')
    unknown = [key for key in entry if key not in _SETTINGS]
    if unknown:
        stop(f'{where} has no setting {unknown[0]!r}: choose from {", ".join(_SETTINGS)}.')
    if entry.get('gives') not in GIFTS:
        stop(f'gives={entry.get("gives")!r} of {where} is unknown: choose from {", ".join(GIFTS)}.')
    if entry.get('checkpoint', 'last') not in ('last', 'best'):
        stop(f'checkpoint={entry.checkpoint!r} of {where} is unknown: choose from last, best.')


def _load(owner: Stage, name: str, entry: Mapping, root: Path) -> Stage:
    beside = Path(owner.cfg.filename).parent
    places = [folder / Path(entry['config']).expanduser() for folder in (beside, root / 'configs')]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        stop(
            f'Config {entry["config"]} of earlier_stages.{name} is neither in {beside} nor in '
            f'{root / "configs"}: check its spelling, or give its absolute path.'
        )
    variant = entry.get('variant', owner.variant)
    # One that the entry names has to be there.
    named = 'variant' in entry or variant in (Config.fromfile(path).get('variants') or {})
    options = Config(dict(entry.get('cfg_options') or {})).to_dict()
    for key in ('randomness', 'env_cfg'):
        if owner.cfg.get(key) is not None:
            options[key] = {**owner.cfg[key], **(options.get(key) or {})}
    arguments = argparse.Namespace(
        config=path,
        variant=variant if named else None,
        cfg_options=options,
        work_dir=str(Path(owner.cfg.work_dir, name)),
        launcher=owner.cfg.get('launcher', 'none'),
        local_rank=0,
    )
    stage = Stage(
        name=name if owner.name == _LAST else f'{owner.name}/{name}',
        cfg=load_config(arguments, root),
        gives=entry['gives'],
        choice=entry.get('checkpoint', 'last'),
        options=f'{owner.options}earlier_stages.{name}.cfg_options.',
        variant=variant,
    )
    _keep_apart(stage)
    if stage.choice == 'best' and len(_names(_save_best(stage.cfg))) != 1:
        stop(
            f"checkpoint='best' of stage {stage.name} needs one metric to compare by: set "
            f'{stage.options}default_hooks.checkpoint.save_best.'
        )
    stage.cfg.resume = stage.latest is not None
    if stage.cfg.resume:
        # The Runner would resume it in place of the latest checkpoint.
        stage.cfg.load_from = None
    return stage


def _keep_apart(stage: Stage) -> None:
    """Give the stage a logger, message hub and visualizer that no other stage of the process has.

    mmengine keeps them by the name of the experiment, which is that of the config file and the
    second it starts in, and a visualizer by the name it has in the config.
    """
    cfg = stage.cfg
    cfg.experiment_name = f'{cfg.get("experiment_name") or Path(cfg.filename).stem}-{stage.name}'
    if (cfg.get('visualizer') or {}).get('name'):
        cfg.visualizer['name'] = f'{cfg.visualizer.name}-{stage.name}'


def _connect(giver: Stage, taker: Stage) -> None:
    if giver.gives in taker.receives:
        stop(
            f'Two earlier stages give {giver.gives} to stage {taker.name}, one of them '
            f'{giver.name}: leave one out.'
        )
    taker.receives.add(giver.gives)
    giver.takers.append(taker)


def _names(value: str | Sequence[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _save_best(cfg: Config) -> str | Sequence[str] | None:
    return ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
