"""Train cross-entropy and GML on the demo scenes, print one table and draw three pictures.

With other ``--methods`` and several ``--seeds`` it is the benchmark behind the README's table.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, init_default_scope
from mmseg.apis import inference_model, init_model
from PIL import Image
from rich.console import Console

from lt_mm.benchmark.experiments import Experiment
from lt_mm.benchmark.methods import DIGIT_SCENES, ROOT
from lt_mm.benchmark.run import add_arguments, run_benchmark
from lt_mm.visualization import plot_predictions
from lt_mm.visualization.per_class import plot_csv_files

PICTURED = ('ce', 'balanced-softmax', 'gml', 'gml-alpha1')


def main(argv: list[str] | None = None) -> None:
    """Count, train, evaluate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, DIGIT_SCENES, methods=['ce', 'gml', 'gml-alpha1'], seeds=[0], jobs=1)
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
    return [
        plot_csv_files(per_class, folder / 'per_class.png'),
        draw_predictions(models, folder / 'predictions.png'),
    ]


def draw_predictions(
    models: Mapping[str, tuple[Config, str]], path: Path, num_images: int = 4
) -> Path:
    """Validation images that show the rarest classes, with ground truth and predictions.

    Args:
        models: name in the heading to (config, checkpoint).
        path: of the picture.
        num_images: how many images.
    """
    first, _ = next(iter(models.values()))
    init_default_scope(first.default_scope)
    dataset = DATASETS.build(first.val_dataloader.dataset)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    truths = [np.asarray(Image.open(info['seg_map_path'])).astype(int) - 1 for info in infos]
    # The classes come in the order of falling frequency, so the largest label is the rarest.
    chosen = np.argsort([-truth.max() for truth in truths], kind='stable')
    chosen = chosen[:: max(1, len(chosen) // (2 * num_images))][:num_images]
    files = [infos[index]['img_path'] for index in chosen]
    predictions = {}
    for name, (config, checkpoint) in models.items():
        model = init_model(config, checkpoint, device='cpu')
        outputs = [inference_model(model, file) for file in files]
        predictions[name] = [output.pred_sem_seg.data[0].numpy() for output in outputs]
    return plot_predictions(
        [np.asarray(Image.open(file)) for file in files],
        [np.where(truths[index] < 0, 255, truths[index]) for index in chosen],
        predictions, dataset.metainfo['classes'], dataset.metainfo['palette'], path,
    )  # fmt: skip


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
