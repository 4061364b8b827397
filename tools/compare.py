"""Compare methods for long tails on your own config of mmsegmentation or mmpretrain.

Each method changes the config, which is printed; all are trained with equal budgets, and set side
by side with their spread over seeds. The same command goes on where an earlier one was stopped.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from rich.console import Console

from lt_mm.analysis.comparison import Comparison, locked
from lt_mm.analysis.comparison_report import tables, write_report
from lt_mm.analysis.variants import VARIANTS
from lt_mm.engine.data_config import check_dataset_paths
from lt_mm.engine.launch import add_config_arguments, load_config, stop

ROOT = Path(__file__).resolve().parents[1]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0],
        epilog='methods: '
        + '; '.join(f'{name} ({variant.label})' for name, variant in VARIANTS.items()),
    )
    add_config_arguments(parser)
    parser.add_argument(
        '--methods', nargs='+', default=['ce,la'], metavar='NAME,NAME',
        help='what to compare, the first one being what the others are compared with; class '
        'weights and post-hoc adjustment are added (default: ce,la)',
    )  # fmt: skip
    parser.add_argument(
        '--seeds', type=int, default=3, metavar='N', help='seeds 0 to N - 1 (default: 3)'
    )
    parser.add_argument(
        '--budget', type=int, metavar='ITERS',
        help='iterations of a run, with schedules scaled to them and one evaluation at the end '
        '(default: the schedule of the config)',
    )  # fmt: skip
    parser.add_argument(
        '--tune', type=int, default=0, metavar='N',
        help='trials of each method for its one hyper-parameter, on a part of the training set '
        'that they are not trained on (default: 0, none)',
    )  # fmt: skip
    parser.add_argument(
        '--tuning-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='settings that make the config validate on a tuning split of its own, which trials '
        'are then spent on in place of a part of the training set',
    )  # fmt: skip
    parser.add_argument(
        '--work-dir', metavar='DIR', help='default: ./work_dirs/compare/<name of the config>'
    )
    parser.add_argument(
        '--jobs', type=int, metavar='N',
        help='runs at a time, shared out among the GPUs (default: as many as there are, or 1)',
    )  # fmt: skip
    return parser.parse_args(argv)


def gpus() -> list[str]:
    """Numbers of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible:
        return visible.split(',')[: torch.cuda.device_count()]
    return [str(number) for number in range(torch.cuda.device_count())]


def main(argv: list[str] | None = None) -> None:
    """Derive, train, evaluate, report."""
    args = parse_args(argv)
    work_dir, args.work_dir = args.work_dir, None
    config = load_config(args, ROOT)
    name = f'{Path(args.config).stem}_{args.variant}' if args.variant else Path(args.config).stem
    folder = Path(work_dir or Path('work_dirs', 'compare', name))
    # Configs in pure Python hold classes, whose full names can be written.
    config = Config(config.to_dict(), filename=config.filename)
    devices = gpus()
    jobs = args.jobs if args.jobs is not None else max(1, len(devices))
    if jobs < 1:
        stop(f'--jobs is {jobs}; give 1 or more.')
    console = Console(width=max(160, Console().width))
    names = [name for item in args.methods for name in item.split(',') if name]
    try:
        check_dataset_paths(config, ('train_dataloader', 'val_dataloader'))
        comparison = Comparison(
            config, folder, names, range(args.seeds), args.budget, args.tune, jobs, devices, _say,
            args.tuning_options,
        )  # fmt: skip
        with locked(folder):
            comparison.prepare()
            for method, lines in comparison.diffs.items():
                what = 'all methods, beside the config' if method == 'all' else method
                if method in VARIANTS and VARIANTS[method].note:
                    what += f' ({VARIANTS[method].note})'
                _say('\n  '.join([f'{what}:', *(lines or ['no change'])]))
            if comparison.run():
                for table in tables(comparison):
                    console.print(*([] if table is None else [table]))
                written = write_report(comparison, shlex.join(['tools/compare.py', *sys.argv[1:]]))
                console.print('Written:', *map(str, written), sep='\n  ', highlight=False)
    except (OSError, ValueError, TypeError) as error:
        stop(_message(error))
    except KeyboardInterrupt:
        done = len(list(folder.glob('**/result.json')))
        print(
            f'\nInterrupted: {done} runs are done and kept in {folder}; give the same command '
            'again to go on.',
            file=sys.stderr,
        )
        sys.exit(130)
    if comparison.failures:
        lines = [f'{name}: {reason}' for name, reason in comparison.failures.items()]
        print('Without a result:', *lines, sep='\n  ', file=sys.stderr)
        sys.exit(1)


def _say(line: str) -> None:
    print(line, flush=True)


def _message(error: Exception) -> str:
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
        return (
            f'{error.filename} cannot be written ({error.strerror}); choose another --work-dir, or '
            'allow it.'
        )
    return error.strerror if isinstance(error, BlockingIOError) else str(error)


if __name__ == '__main__':
    main()
