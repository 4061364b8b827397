"""Train a model of mmsegmentation or mmpretrain, with the components of lt_mm, from a config.

What ``earlier_stages`` of the config names, such as the training of its teacher, comes first unless
it is done already: see docs/stages.md.
"""

import argparse
from pathlib import Path

from mmengine.config import Config

from lt_mm.engine.distributed import build_runner
from lt_mm.engine.launch import (
    add_config_arguments,
    add_run_arguments,
    has_accelerator,
    load_config,
    stop,
)
from lt_mm.engine.saved_checkpoints import LAST, last_checkpoint, saving_of
from lt_mm.stages.read import read_stages
from lt_mm.stages.run import plan_stages, train_earlier_stages

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from CHECKPOINT with optimizer and iteration number; alone or as "auto" from '
        'the latest checkpoint in the work dir, if there is one; put it after CONFIG',
    )
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision; needs an accelerator'
    )
    add_run_arguments(parser)
    return parser.parse_args()


def set_resume(cfg: Config, resume: str | None) -> None:
    """Apply ``--resume``; without it the config's own ``resume`` and ``load_from`` stand.

    Args:
        cfg: changed in place.
        resume: path or address of a checkpoint, 'auto' or None.

    Raises:
        SystemExit: if the checkpoint does not exist.
    """
    if resume == 'auto':
        # Which of them can be read is the hook's to find out, and to say if none can.
        cfg.resume = (
            Path(cfg.work_dir, LAST).exists() or last_checkpoint(**saving_of(cfg)) is not None
        )
        if cfg.resume:
            # A load_from left here would be resumed in place of the latest checkpoint. On the
            # first start it stays: the weights that a second stage begins with.
            cfg.load_from = None
    elif resume is not None:
        if '://' not in resume and not Path(resume).is_file():
            stop(
                f'Checkpoint {resume} does not exist: give the path of a .pth file, or --resume '
                f'alone for the latest one in {cfg.work_dir}.'
            )
        cfg.resume = True
        cfg.load_from = resume


def set_mixed_precision(cfg: Config, amp: bool) -> None:
    """Apply ``--amp``, and refuse mixed precision where no device can do it.

    Args:
        cfg: changed in place.
        amp: whether ``--amp`` was given.

    Raises:
        SystemExit: if the machine has no accelerator, or the config's optimizer wrapper has no
            counterpart in mixed precision.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    kind = wrapper.get('type', 'OptimWrapper')
    if amp and kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        stop(
            f'--amp replaces the optimizer wrapper OptimWrapper, and the config has {kind}: '
            f'leave --amp out and choose the precision in the config.'
        )
    if amp:
        wrapper['type'] = kind = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    if kind == 'AmpOptimWrapper' and not has_accelerator():
        stop(
            'Mixed-precision training (--amp, or optim_wrapper.type=AmpOptimWrapper in the '
            'config) needs an accelerator and this machine has none: leave --amp out, or set '
            'optim_wrapper.type=OptimWrapper.'
        )


def main() -> None:
    """Train, after the earlier stages that the config names."""
    args = parse_args()
    cfg = load_config(args, ROOT)
    set_resume(cfg, args.resume)
    stages = read_stages(cfg, ROOT)
    for stage in stages:
        if stage.skipped is None:
            set_mixed_precision(stage.cfg, args.amp)
    train_earlier_stages(stages, plan_stages(stages))
    build_runner(cfg).train()


if __name__ == '__main__':
    main()
