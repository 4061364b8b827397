"""Diagnose a data set and a model: an HTML report and a JSON file, with advice and commands.

Any config of mmsegmentation or mmpretrain will do. Without a checkpoint, the data alone are looked
at; with one, the model is run on the validation set.
"""

import argparse
import sys
from pathlib import Path

from lt_mm.analysis.advice import Commands
from lt_mm.analysis.diagnosis import NAME, DiagnosisError, diagnose
from lt_mm.engine.launch import add_config_arguments, load_config, stop
from lt_mm.visualization.backends import add_to_backends
from lt_mm.visualization.diagnosis import draw_figures

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help='.pth file, or the address of one')
    parser.add_argument(
        '--class-counts',
        metavar='NAME_OR_PATH',
        help='counts of the training set, where its data are not on this machine: the name of '
        'packaged ones, or a file of tools/analysis_tools/class_counts.py',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        help='folder of the results; default: work_dirs/diagnose/CONFIG',
    )
    return parser.parse_args()


def main() -> None:
    """Diagnose, and say where the report is."""
    args = parse_args()
    cfg = load_config(args, ROOT)
    name = '_'.join(filter(None, (Path(args.config).stem, args.variant)))
    out = args.out or Path('work_dirs', 'diagnose', name)
    commands = Commands(
        args.config,
        args.checkpoint,
        options=('--variant', args.variant) if args.variant else (),
        settings=tuple(f'{key}={value}' for key, value in (args.cfg_options or {}).items()),
    )
    try:
        content = diagnose(cfg, commands, out, args.class_counts)
    except DiagnosisError as error:
        stop(str(error))
    except KeyboardInterrupt:
        print(f'Interrupted. Run it again: what was counted is kept in {out}.', file=sys.stderr)
        raise SystemExit(130) from None
    add_to_backends(cfg, draw_figures(content), out)
    for one in content['advice']:
        print(f'- {one["finding"]}\n  {one["advice"]}\n    {one["command"]}')
    print(f'Report: {out / NAME}.html, figures: {out / NAME}.json')


if __name__ == '__main__':
    main()
