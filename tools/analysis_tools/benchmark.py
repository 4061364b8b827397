"""Images a second of a model, on the test set of its config: from preprocessed pixels to results.

Loading and preprocessing are left out, one image is predicted at a time unless --batch-size says
otherwise, and the first predictions are not counted. Without a checkpoint the weights are random,
which takes as long.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import Evaluator

from lt_mm.engine.data_config import check_dataset_paths
from lt_mm.engine.distributed import build_runner
from lt_mm.engine.launch import add_config_arguments, check_writable, load_config, stop

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help='.pth file, or the address of one')
    parser.add_argument(
        '--batches', type=int, default=200, metavar='N', help='timed, at most; default: 200'
    )
    parser.add_argument(
        '--warmup', type=int, default=5, metavar='N', help='batches before these; default: 5'
    )
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='default: 1')
    parser.add_argument(
        '--repeat-times', type=int, default=1, metavar='N', help='runs, one after another'
    )
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='write fps.json there')
    return parser.parse_args()


def main() -> None:
    """Time, print, write."""
    args = parse_args()
    config = load_config(args, ROOT)
    for name in ('batches', 'batch_size', 'repeat_times'):
        if getattr(args, name) < 1:
            stop(f'--{name.replace("_", "-")} {getattr(args, name)} is too few: give 1 or more.')
    if config.get('test_dataloader') is None:
        stop(f'{args.config} has no test_dataloader: add one, whose images are predicted.')
    try:
        check_dataset_paths(config, ('test_dataloader',))
        if args.checkpoint and '://' not in args.checkpoint and not Path(args.checkpoint).is_file():
            raise FileNotFoundError(
                f'Checkpoint {args.checkpoint} does not exist: give the path of a .pth file, or '
                'none for random weights.'
            )
        if args.work_dir:
            check_writable(args.work_dir, '--work-dir', ('fps.json',))
    except OSError as error:
        stop(str(error))
    config.load_from = args.checkpoint
    config.test_dataloader.batch_size = args.batch_size
    config.test_evaluator = []
    config.test_cfg = config.get('test_cfg') or dict()
    config.log_level = 'WARNING'
    runner = build_runner(config, terse=True)
    # Built with metrics, of which some want what the config does not have.
    runner.test_loop.evaluator = Evaluator([])
    loader = runner.test_loop.dataloader
    needed = args.warmup + args.batches
    try:
        speeds = [_time(runner, needed, args.warmup) for _ in range(args.repeat_times)]
    except RuntimeError as error:
        if args.checkpoint:
            raise
        # Some classifiers cannot do without class counts.
        stop(f'{args.config} cannot be timed with random weights, give a checkpoint: {error}')
    device = next(runner.model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type
    timed = min(needed, len(loader)) - min(args.warmup, len(loader) - 1)
    result = dict(
        config=args.config,
        checkpoint=args.checkpoint,
        device=name,
        threads=torch.get_num_threads(),
        batch_size=args.batch_size,
        batches=timed,
        fps=[round(speed, 2) for speed in speeds],
        average_fps=round(statistics.fmean(speeds), 2),
        fps_std=round(statistics.pstdev(speeds), 2),
    )
    weights = args.checkpoint or 'random weights'
    print(f'{args.config}, {weights}, {name}, {timed} batches of {args.batch_size}:')
    for number, speed in enumerate(speeds, 1):
        print(f'  run {number}: {speed:.2f} images/s, {1000 / speed:.2f} ms an image')
    if len(speeds) > 1:
        print(f'  mean: {result["average_fps"]:.2f} ± {result["fps_std"]:.2f} images/s')
    if args.work_dir:
        path = args.work_dir / 'fps.json'
        path.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
        print(path)


class _EnoughError(Exception):
    """As many batches as were wanted."""


def _time(runner: Any, needed: int, warmup: int) -> float:
    """Images a second of one run over the test set."""
    marks, images = [], []

    def before(module: Any, args: tuple) -> None:
        if len(marks) == needed:
            raise _EnoughError
        _wait()
        marks.append(time.perf_counter())

    def after(module: Any, args: tuple, output: list) -> None:
        _wait()
        marks[-1] = time.perf_counter() - marks[-1]
        images.append(len(output))

    handles = [
        runner.model.register_forward_pre_hook(before),
        runner.model.register_forward_hook(after),
    ]
    try:
        runner.test()
    except _EnoughError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    first = min(warmup, len(marks) - 1)
    return sum(images[first:]) / sum(marks[first:])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == '__main__':
    main()
