"""Train methods for classification on DigitsLT over several seeds and compare them in one table.

Hyper-parameters were chosen on the split 'tuning'; the table is of the split 'test', after the
last epoch.
"""

import argparse
from pathlib import Path

from mmengine.config import Config
from rich.console import Console

from lt_mm.benchmark.experiments import ROOT, Experiment, run_all, write_results
from lt_mm.benchmark.expert_results import with_experts
from lt_mm.visualization.result_table import CLASSIFICATION, INFERENCE_COSTS, summary_table

# Short name -> (name in the table, config, teacher); the config's ending is left out.
METHODS = {
    'ce': ('cross-entropy', 'ce', None),
    'cosine': ('cosine, L_cls', 'cosine', None),
    'balanced-softmax': ('balanced softmax', 'balanced-softmax', None),
    'supcon': ('SupCon + cross-entropy', 'supcon', None),
    'bcl': ('BCL', 'bcl', None),
    'paco': ('PaCo', 'paco', None),
    'kd': ('KD', 'kd', 'ce'),
    'crd': ('CRD', 'crd', 'ce'),
    'gml-no-teacher': ('GML without teacher', 'gml-no-teacher', None),
    'gml': ('GML', 'gml', 'balanced-softmax'),
    'gml-kd': ('GML and KD', 'gml-kd', 'balanced-softmax'),
    'focal': ('focal loss', 'focal', None),
    'class-balanced-ce': ('cross-entropy, effective numbers', 'class-balanced-ce', None),
    'seesaw': ('Seesaw', 'seesaw', None),
    'lade': ('LADE', 'lade', None),
    'ldam-drw': ('LDAM-DRW', 'ldam-drw', None),
    'las': ('label-aware smoothing', 'las', None),
    'square-root-sampler': ('square-root sampling', 'square-root-sampler', None),
    'class-balanced-sampler': ('class-balanced sampling', 'class-balanced-sampler', None),
    'mixup': ('mixup', 'mixup', None),
    'crt': ('cRT', 'crt', None),
    'lws': ('LWS', 'lws', None),
    'disalign': ('DisAlign', 'disalign', None),
    'mislas': ('MiSLAS', 'mislas', None),
    'post-compensation': ('post-compensated softmax', 'post-compensation', None),
    'tau-norm': ('τ-normalised', 'tau-norm', None),
    'ncm': ('nearest class mean', 'ncm', None),
    'wide': ('post-compensated, one wide network', 'wide', None),
    'experts': ('3 experts without exchange', 'experts', None),
    'mutual': ('mutual learning', 'mutual', None),
    'ride': ('RIDE', 'ride', None),
    'ride-six': ('RIDE of 6 experts', 'ride-six', None),
    'ride-kd': ('RIDE, distilled from 6 experts', 'ride-kd', 'ride-six'),
    'ride-routed': ('RIDE with routing', 'ride-routed', None),
    'sade': ('SADE', 'sade', None),
    'ncl': ('NCL', 'ncl', None),
    'reslt': ('ResLT', 'reslt', None),
}
FILES = (
    ('val_evaluator.0.output_csv', 'per_class.csv'),
    ('val_evaluator.1.output_json', 'calibration.json'),
)
# Rows of the second table, with costs and with experts alone, to the methods that cost the same.
EXPERTS = {
    name: name
    for name in ('ce', 'post-compensation', 'wide', 'experts', 'mutual', 'ride', 'ride-six',
                 'ride-kd', 'ride-routed', 'sade', 'ncl', 'reslt')
} | {'ride-routed': 'ride'}  # fmt: skip
COSTS = dict(seconds=('seconds', '.0f'))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--methods', nargs='+', default=list(METHODS), choices=METHODS, help='default: all'
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--split', default='test', help="'test' (default) or 'tuning'")
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time (default: 2)')
    parser.add_argument('--out-dir', type=Path, default=Path('work_dirs/digits'))
    parser.add_argument('--json', type=Path, help='also write the results to this file')
    parser.add_argument('--reuse', action='store_true', help='keep runs that already ended')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for every run'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train, evaluate, print."""
    args = parse_args(argv)
    missing = {METHODS[name][2] for name in args.methods} - {None, *args.methods}
    methods = [*sorted(missing), *args.methods]
    options = (f'val_dataloader.dataset.split={args.split}', *args.cfg_options)
    epochs = Config.fromfile(ROOT / config_of('ce')).train_cfg.max_epochs
    experiments = [
        Experiment(
            name, config_of(name), seed, args.out_dir, options, METHODS[name][2], epochs, FILES
        )
        for seed in args.seeds
        for name in methods
    ]
    results = run_all(experiments, args.jobs, args.reuse)
    labels = {name: METHODS[name][0] for name in methods}
    # Wider than the 80 columns that rich assumes where there is no terminal.
    console = Console(width=max(120, Console().width))
    console.print(summary_table(results, labels, CLASSIFICATION, COSTS))
    configs = {name: config_of(EXPERTS[name]) for name in methods if name in EXPERTS}
    rows, names = with_experts(experiments, results, labels, configs)
    if rows:
        console.print(summary_table(rows, names, CLASSIFICATION, INFERENCE_COSTS))
    if args.json:
        write_results(args.json, results, labels, args.jobs, rows, names)


def config_of(method: str) -> str:
    """Path of a method's config, relative to the repository."""
    return f'configs/digits_lt/{METHODS[method][1]}_resnet8_digits-lt.py'


if __name__ == '__main__':
    main()
