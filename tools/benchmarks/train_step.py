"""Time, memory, parameters and FLOPs of configs, the first being what the others are held against.

Each runs on made-up images in a process of its own, several times in turn, with its queue full.
A teacher gets random weights. Weights that the configs would download are left out. Parameters are
those of the training without a teacher; FLOPs are those of the logits of one image.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from mmengine.config import Config, DictAction
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn
from torch.profiler import ProfilerActivity, profile

from lt_mm.benchmark.measurement import describe_environment, in_fresh_process, peak_memory
from lt_mm.benchmark.model_costs import config_costs
from lt_mm.models.counts import set_class_counts
from lt_mm.models.layers import ClassQueue
from lt_mm.structures import ClassCounts

MIB = 1 << 20
WARM_UP = 3


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--amp', action='store_true', help='mixed precision; needs a GPU')
    parser.add_argument('--crop', type=int, default=512, help='side of the images (default: 512)')
    parser.add_argument('--batch', type=int, default=4, help='images a step (default: 4)')
    parser.add_argument('--steps', type=int, default=20, help='timed steps a turn (default: 20)')
    parser.add_argument('--turns', type=int, default=3, help='processes a config (default: 3)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument(
        '--profile', action='store_true', help='print where the time of each config goes instead'
    )
    parser.add_argument('--json', type=Path, help='write the results to this file')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    args = parse_args(argv)
    if args.profile:
        for config in args.configs:
            print(config, in_fresh_process(profile_steps, config, vars(args)), sep='\n')
        return
    turns = [
        in_fresh_process(measure, config, vars(args))
        for _ in track(range(args.turns), 'Measuring')
        for config in args.configs
    ]
    rows = []
    for config in args.configs:
        mine = [turn for turn in turns if turn['config'] == config]
        seconds = median(second for turn in mine for second in turn['seconds'])
        peak = max(turn['peak_mib'] for turn in mine)
        costs = config_costs(_config(config, vars(args)), (args.crop, args.crop))
        rows.append(
            dict(
                config=Path(config).stem,
                seconds=seconds,
                peak_mib=peak,
                parameters=costs.parameters,
                flops=costs.flops,
            )
        )
    Console(width=100).print(_table(rows))
    if args.json:
        names = ('device', 'amp', 'crop', 'batch', 'steps', 'turns', 'cfg_options')
        settings = {name: getattr(args, name) for name in names}
        document = dict(environment=describe_environment(), settings=settings, rows=rows)
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(document, indent=1) + '\n')


def measure(config: str, settings: dict) -> dict:
    """Seconds of each step and the peak MiB of the process, or of the GPU."""
    step = Step(config, settings)
    seconds = [step() for _ in range(WARM_UP + settings['steps'])][WARM_UP:]
    peak = peak_memory(settings['device']) / MIB
    return dict(config=config, seconds=seconds, peak_mib=peak)


def profile_steps(config: str, settings: dict) -> str:
    """The operations that take most of the time, as a table."""
    step = Step(config, settings)
    for _ in range(WARM_UP):
        step()
    on_gpu = torch.device(settings['device']).type == 'cuda'
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=activities) as profiler:
        for _ in range(settings['steps']):
            step()
    key = f'self_{"cuda" if on_gpu else "cpu"}_time_total'
    return profiler.key_averages().table(sort_by=key, row_limit=20, max_name_column_width=50)


class Step:
    """A training step of a config, on the same made-up batch every time."""

    def __init__(self, config: str, settings: dict) -> None:
        torch.manual_seed(0)
        cfg = _config(config, settings)
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        cfg.model.pretrained = None
        if cfg.model.get('teacher') is not None:
            config = cfg.model.teacher.get('config') or cfg.earlier_stages.teacher.config
            cfg.model.teacher = dict(config=config, checkpoint=_random_teacher(config))
        # No size to pad to, so that any crop will do.
        cfg.model.data_preprocessor.update(size=None, size_divisor=32)
        self.device = torch.device(settings['device'])
        self.model = revert_sync_batchnorm(MODELS.build(cfg.model)).to(self.device).train()
        if settings['amp']:
            cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        num_classes = self.model.decode_head.num_classes
        _fill(self.model, num_classes)
        self.batch = _batch(settings['batch'], settings['crop'], num_classes)

    def __call__(self) -> float:
        """Seconds that a step took."""
        self._synchronize()
        start = perf_counter()
        self.model.train_step(self.batch, self.optim_wrapper)
        self._synchronize()
        return perf_counter() - start

    def _synchronize(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def _config(path: str, settings: dict) -> Config:
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(settings['cfg_options'])
    return cfg


def _random_teacher(config: str) -> str:
    """Path of random weights for a teacher; the folder goes when the process ends."""
    _random_teacher.folder = TemporaryDirectory()
    model = Config.fromstring(f'_base_ = {config!r}', '.py').model
    model.pretrained = None
    path = Path(_random_teacher.folder.name, 'teacher.pth')
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), path)
    return str(path)


def _fill(model: nn.Module, num_classes: int) -> None:
    """Long-tailed counts for whoever takes them, and queues that hold as much as they can."""
    set_class_counts(model, ClassCounts([10**6 // (i + 1) for i in range(num_classes)]))
    for queue in (module for module in model.modules() if isinstance(module, ClassQueue)):
        labels = torch.repeat_interleave(torch.arange(num_classes), queue.lengths.cpu())
        features = torch.rand(len(labels), queue.features.shape[1])
        queue.enqueue(features.to(queue.features.device), labels, torch.arange(len(labels)))


def _batch(size: int, crop: int, num_classes: int) -> dict:
    """Noise, labelled in patches of up to ten classes an image, some of it ignored."""
    labels = torch.randint(0, num_classes, (size, 10)).gather(
        1, torch.randint(0, 10, (size, (crop // 32) ** 2))
    )
    labels = labels.reshape(size, 1, crop // 32, crop // 32)
    labels = labels.repeat_interleave(32, 2).repeat_interleave(32, 3)
    labels[:, :, :32, :32] = 255
    inputs = torch.randint(0, 256, (size, 3, crop, crop), dtype=torch.uint8)
    samples = [
        SegDataSample(metainfo=dict(img_path=f'{i}.png', img_shape=(crop, crop)))
        for i in range(size)
    ]
    for sample, label in zip(samples, labels, strict=True):
        sample.gt_sem_seg = PixelData(data=label)
    return dict(inputs=list(inputs), data_samples=samples)


def _table(rows: list[dict]) -> Table:
    table = Table('config', 's / step', 'of 1st', 'peak MiB', 'more', 'M params', 'GFLOPs')
    for row in rows:
        table.add_row(
            row['config'],
            f'{row["seconds"]:.3f}',
            f'{100 * row["seconds"] / rows[0]["seconds"]:.0f} %',
            f'{row["peak_mib"]:.0f}',
            f'{row["peak_mib"] - rows[0]["peak_mib"]:+.0f}',
            f'{row["parameters"] / 1e6:.2f}',
            f'{row["flops"] / 1e9:.2f}',
        )
    return table


if __name__ == '__main__':
    main()
