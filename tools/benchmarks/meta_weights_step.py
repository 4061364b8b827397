"""Time and memory of a training step with weights that are learnt, beside a plain one.

FCN-R50 of mmsegmentation on made-up images, each setting in a process of its own. Time is that of
the processor, so that other work beside it tells less.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.hub import get_config
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lt_mm.benchmark.measurement import describe_environment, in_fresh_process, peak_memory
from lt_mm.engine.distributed import build_runner

HEAD = ('decode_head', 'backbone.layer4')
SETTINGS = {
    'plain': None,
    'last layer': dict(),
    'last layer, half the images': dict(batch_size=1),
    'head, finite difference': dict(engine='finite_difference', layers=HEAD[:1]),
    'head and last stage, finite difference': dict(engine='finite_difference', layers=HEAD),
    'all, finite difference': dict(engine='finite_difference'),
}


class _Times(Hook):
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def before_train_iter(self, *args: object, **kwargs: object) -> None:
        self.seconds.append(process_time())


def measure(name: str, size: int, steps: int) -> dict:
    """Seconds of the steps after the first one, and the peak of memory in MiB."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        for part, high in (('images/training', 256), ('annotations/training', 151)):
            (Path(folder) / part).mkdir(parents=True)
            for i in range(4):
                shape = (size, size, 3) if high == 256 else (size // 16, size // 16)
                pixels = rng.integers(high, size=shape, dtype=np.uint8)
                image = Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST)
                image.save(Path(folder) / part / f'{i}.{"jpg" if high == 256 else "png"}')
        runner = build_runner(_config(folder, SETTINGS[name], size, steps), terse=True)
        times = _Times()
        runner.register_hook(times)
        runner.train()
    seconds = np.diff(times.seconds)[1:].tolist()
    return dict(name=name, seconds=median(seconds), peak_mib=peak_memory('cpu') >> 20)


def _config(folder: str, meta: dict | None, size: int, steps: int) -> Config:
    config = get_config('mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py')
    config.model.pretrained = None
    config.model.decode_head.loss_decode.update(avg_non_ignore=True)
    config.work_dir = f'{folder}/run'
    config.log_level = 'ERROR'
    config.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', reduce_zero_label=True),
    ]
    dataset = dict(data_root=folder, pipeline=[*pipeline, dict(type='PackSegInputs')])
    config.train_dataloader.dataset.update(dataset)
    config.model.data_preprocessor.size = (size, size)
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps + 2, val_interval=1000)
    config.param_scheduler = []
    for name in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        config.pop(name)
    config.default_hooks.checkpoint.interval = 1000
    config.custom_hooks = [dict(type='lt_mm.ClassCountsHook')]
    if meta is not None:
        config.custom_hooks.append(dict(type='lt_mm.MetaReweighting', **meta))
    config.launcher = 'none'
    return config


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, default=256, help='side of the images')
    parser.add_argument('--steps', type=int, default=4, help='timed steps')
    parser.add_argument('--json', type=Path, help='write the results to this file')
    args = parser.parse_args(argv)
    rows = [
        in_fresh_process(measure, name, args.size, args.steps)
        for name in track(SETTINGS, 'Measuring')
    ]
    table = Table('setting', 'processor seconds', 'beside plain', 'peak MiB')
    for row in rows:
        row['beside_plain'] = row['seconds'] / rows[0]['seconds']
        ratio = f'{row["beside_plain"]:.2f}'
        table.add_row(row['name'], f'{row["seconds"]:.2f}', ratio, f'{row["peak_mib"]:,}')
    Console(width=100).print(table)
    if args.json:
        settings = dict(size=args.size, steps=args.steps, batch=2, threads=1)
        document = dict(environment=describe_environment(), settings=settings, rows=rows)
        args.json.write_text(json.dumps(document, indent=1) + '\n')


if __name__ == '__main__':
    main()
