"""Train methods for segmentation on the demo scenes over several seeds, compare them in a table.

Hyper-parameters were chosen on the split 'tuning'; the table is of the split 'validation', after
the last iteration. Three pictures are drawn of the first seed.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from rich.console import Console

from lt_mm.benchmark.experiments import Experiment
from lt_mm.benchmark.methods import DIGIT_SCENES, ROOT
from lt_mm.benchmark.pictures import draw_predictions
from lt_mm.benchmark.run import add_arguments, run_benchmark
from lt_mm.structures import ClassCounts
from lt_mm.visualization.per_class import plot_csv_files

PICTURED = ('ce', 'balanced-softmax', 'gml', 'gml-alpha1')


def main(argv: list[str] | None = None) -> None:
    """Count, train, evaluate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, DIGIT_SCENES, methods=['all'], seeds=[0, 1, 2], jobs=2)
    args = parser.parse_args(argv)
    console = Console(width=max(160, Console().width))
    count_classes(args.out_dir, args.cfg_options)
    experiments = run_benchmark(DIGIT_SCENES, args, console=console)
    first = [experiment for experiment in experiments if experiment.seed == args.seeds[0]]
    # More lines than these nobody can tell apart.
    first = [e for e in first if e.name in PICTURED] or first[:4]
    pictures = [args.out_dir / 'class_counts.png', *draw(first, args.out_dir)]
    console.print('Pictures:', *(str(path) for path in pictures), sep='\n  ')


def draw(experiments: Sequence[Experiment], folder: Path) -> list[Path]:
    """Accuracies of the classes and predictions of a few images."""
    labels = {experiment: experiment.method.label for experiment in experiments}
    per_class = {label: e.work_dir / 'per_class.csv' for e, label in labels.items()}
    models = {label: (config_of(e), e.checkpoint) for e, label in labels.items()}
    counts = ClassCounts.load(folder / 'pixels.json')
    return [
        plot_csv_files(per_class, folder / 'per_class.png'),
        draw_predictions(models, counts, folder / 'predictions.png'),
    ]


def config_of(experiment: Experiment) -> Config:
    """What was trained, with values as tools/train.py reads them."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction, default={})
    config = experiment.method.load()
    options = parser.parse_args(['--cfg-options', *experiment.options]).cfg_options
    config.merge_from_dict(options)
    return config


def count_classes(folder: Path, options: Sequence[str]) -> None:
    """Make the data set if it is missing and draw its class counts."""
    tool = ROOT / 'tools' / 'analysis_tools' / 'class_counts.py'
    config = ROOT / DIGIT_SCENES.methods['ce'].config
    command = [sys.executable, tool, config, '--out-dir', folder]
    if options:
        command += ['--cfg-options', *options]
    subprocess.run(command, check=True, env={**os.environ, 'PYTHONWARNINGS': 'ignore'})


if __name__ == '__main__':
    main()
