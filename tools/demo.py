"""Train cross-entropy and GML on the demo scenes, print one table and draw three pictures.

With other ``--methods`` and several ``--seeds`` it is the benchmark behind the README's table.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from mmengine.config import DictAction
from rich.console import Console

from lt_mm.benchmark.experiments import ROOT, Experiment, run_all, write_results
from lt_mm.benchmark.expert_results import with_experts
from lt_mm.visualization.demo_report import draw_per_class, draw_predictions
from lt_mm.visualization.result_table import INFERENCE_COSTS, SEGMENTATION, summary_table

# Short name -> (name in tables, config, teacher).
METHODS = {
    'ce': ('cross-entropy', 'configs/ce_fcn_r18_digits.py', None),
    'balanced-softmax': ('balanced softmax', 'configs/balanced-softmax_fcn_r18_digits.py', None),
    'logit-adjustment': (
        'logit adjustment, α = 0.2', 'configs/logit-adjustment_fcn_r18_digits_alpha02.py', None),
    'weighted-ce': (
        'class-weighted cross-entropy', 'configs/weighted-ce_fcn_r18_digits.py', None),
    'focal': ('focal loss', 'configs/focal_fcn_r18_digits.py', None),
    'seesaw': ('Seesaw', 'configs/seesaw_fcn_r18_digits.py', None),
    'las': ('label-aware smoothing', 'configs/las_fcn_r18_digits.py', None),
    'ldam': ('LDAM', 'configs/ldam_fcn_r18_digits.py', None),
    'repeat-factor': (
        'repeat-factor sampling', 'configs/repeat-factor_fcn_r18_digits.py', None),
    'rare-class': ('rare-class sampling', 'configs/rare-class_fcn_r18_digits.py', None),
    'cosine': ('cosine, L_cls, α = 0.2', 'configs/cosine_fcn_r18_digits.py', None),
    'cosine-alpha1': ('cosine, L_cls, α = 1', 'configs/cosine_fcn_r18_digits_alpha1.py', None),
    'gml-no-teacher': (
        'GML without teacher, α = 0.2', 'configs/gml_fcn_r18_digits_no-teacher.py', None),
    'gml-no-teacher-alpha1': (
        'GML without teacher, α = 1', 'configs/gml_fcn_r18_digits_no-teacher_alpha1.py', None),
    'gml': ('GML, α = 0.2', 'configs/gml_fcn_r18_digits.py', 'ce'),
    'gml-alpha1': ('GML, α = 1', 'configs/gml_fcn_r18_digits_alpha1.py', 'ce'),
    'gml-trainable-temperature': (
        'GML, α = 1, τ_g learnt', 'configs/gml_fcn_r18_digits_trainable-temperature.py', 'ce'),
    'post-compensation': (
        'post-compensated softmax', 'configs/post-compensation_fcn_r18_digits.py', None),
    'wide': ('post-compensated, one wide head', 'configs/wide_fcn_r18_digits.py', None),
    'mutual': ('mutual learning, 3 heads', 'configs/mutual_fcn_r18_digits.py', None),
    'sade': ('SADE, 3 heads', 'configs/sade_fcn_r18_digits.py', None),
}  # fmt: skip
PICTURED = ('ce', 'balanced-softmax', 'gml', 'gml-alpha1')
# Rows of a second table, with costs and with experts alone, where there are some.
EXPERTS = ('ce', 'post-compensation', 'wide', 'mutual', 'sade')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--methods', nargs='+', default=['ce', 'gml', 'gml-alpha1'], choices=[*METHODS, 'all'],
        help='what to train, teachers included (default: ce gml gml-alpha1)')  # fmt: skip
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], help='default: 0')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time (default: 1)')
    parser.add_argument('--out-dir', type=Path, default=Path('work_dirs/demo'))
    parser.add_argument('--json', type=Path, help='also write the results to this file')
    parser.add_argument('--reuse', action='store_true', help='keep runs that already ended')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for every run'
    )
    args = parser.parse_args(argv)
    if 'all' in args.methods:
        args.methods = list(METHODS)
    return args


def main(argv: list[str] | None = None) -> None:
    """Count, train, evaluate, print, draw."""
    args = parse_args(argv)
    overrides = parse_overrides(args.cfg_options)
    missing = {METHODS[name][2] for name in args.methods} - {None, *args.methods}
    methods = [*sorted(missing), *args.methods]
    # The table is wider than the 80 columns that rich assumes where there is no terminal.
    console = Console(width=max(160, Console().width))
    count_classes(args.out_dir, args.cfg_options)
    experiments = [
        Experiment(name, METHODS[name][1], seed, args.out_dir, tuple(args.cfg_options),
                   METHODS[name][2])
        for seed in args.seeds for name in methods
    ]  # fmt: skip
    results = run_all(experiments, args.jobs, args.reuse)
    labels = {name: METHODS[name][0] for name in methods}
    console.print(summary_table(results, labels))
    configs = {name: METHODS[name][1] for name in methods if name in EXPERTS}
    rows, names = with_experts(experiments, results, labels, configs)
    if len(names) > len(configs):
        console.print(summary_table(rows, names, SEGMENTATION, INFERENCE_COSTS))
    if args.json:
        write_results(args.json, results, labels, args.jobs, rows, names)
    first = [experiment for experiment in experiments if experiment.seed == args.seeds[0]]
    # More lines than these nobody can tell apart.
    first = [e for e in first if e.method in PICTURED] or first[:4]
    pictures = [
        args.out_dir / 'class_counts.png',
        draw_per_class(
            {labels[e.method]: e.work_dir / 'per_class.csv' for e in first},
            args.out_dir / 'per_class.png'),
        draw_predictions(
            {labels[e.method]: (ROOT / e.config, e.checkpoint) for e in first},
            args.out_dir / 'predictions.png', overrides),
    ]  # fmt: skip
    console.print('Pictures:', *(str(path) for path in pictures), sep='\n  ')


def parse_overrides(options: list[str]) -> dict:
    """Values as tools/train.py reads them."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction, default={})
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def count_classes(folder: Path, options: list[str]) -> None:
    """Make the data set if it is missing and draw its class counts."""
    tool = ROOT / 'tools' / 'analysis_tools' / 'class_counts.py'
    command = [sys.executable, tool, ROOT / METHODS['ce'][1], '--out-dir', folder]
    if options:
        command += ['--cfg-options', *options]
    subprocess.run(command, check=True, env={**os.environ, 'PYTHONWARNINGS': 'ignore'})


if __name__ == '__main__':
    main()
