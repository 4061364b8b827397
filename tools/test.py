"""Evaluate a checkpoint on the test set of a config of mmsegmentation or mmpretrain."""

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import METRICS

from lt_mm.engine.data_config import check_dataset_paths, walk_datasets
from lt_mm.engine.distributed import build_runner, write_metrics_once
from lt_mm.engine.launch import (
    add_config_arguments,
    add_run_arguments,
    check_writable,
    load_config,
    stop,
)

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='.pth file, or the address of one')
    parser.add_argument(
        '--out',
        metavar='PATH',
        help='folder for the predictions: one PNG of class ids an image for segmentation, '
        'predictions.pkl for classification, or the path of that .pkl file',
    )
    parser.add_argument('--show', action='store_true', help='show every prediction in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='folder for painted predictions')
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        metavar='SECONDS',
        help='how long --show keeps a window; default: 2',
    )
    parser.add_argument(
        '--interval',
        type=int,
        default=1,
        metavar='N',
        help='paint or show every N-th batch; default: 1',
    )
    parser.add_argument(
        '--tta', action='store_true', help='average over the views of tta_pipeline of the config'
    )
    add_run_arguments(parser)
    return parser.parse_args()


def paint_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Apply ``--show`` and ``--show-dir`` to the visualization hook, of either package.

    A hook or visualizer that the config lacks is added.

    Args:
        cfg: changed in place.
        args: ``show``, ``show_dir``, ``wait_time`` and ``interval``.
    """
    classify = cfg.get('default_scope') == 'mmpretrain'
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = dict()
    if cfg.default_hooks.get('visualization') is None:
        hook_type = 'VisualizationHook' if classify else 'SegVisualizationHook'
        cfg.default_hooks.visualization = dict(type=hook_type)
    if cfg.get('visualizer') is None:
        visualizer_type = 'UniversalVisualizer' if classify else 'SegLocalVisualizer'
        backends = [dict(type='LocalVisBackend')]
        cfg.visualizer = dict(type=visualizer_type, vis_backends=backends)
    hook = cfg.default_hooks.visualization
    hook.update(show=args.show, wait_time=args.wait_time, interval=args.interval)
    if classify:
        hook.update(enable=True, out_dir=args.show_dir)
    else:
        hook['draw'] = True
        if args.show_dir:
            cfg.visualizer['save_dir'] = args.show_dir


def average_over_views(cfg: Config) -> None:
    """Apply ``--tta``: wrap the model and replace the pipeline of every test dataset.

    Args:
        cfg: changed in place.

    Raises:
        SystemExit: if the config lacks ``tta_model`` or ``tta_pipeline``.
    """
    for key in ('tta_model', 'tta_pipeline'):
        if cfg.get(key) is None:
            stop(f'--tta needs {key}, which this config lacks: define it in the config.')
    for _, dataset in walk_datasets(cfg.test_dataloader.dataset, ''):
        dataset['pipeline'] = cfg.tta_pipeline
    cfg.model = dict(**cfg.tta_model, module=cfg.model)


def keep_predictions(cfg: Config, out: str) -> None:
    """Apply ``--out``.

    Args:
        cfg: changed in place.
        out: folder; made if it does not exist. For classification also the path of a .pkl file.

    Raises:
        SystemExit: if no metric of a segmentation config can write predictions, or ``out`` is a
            file, or the name of one where a folder is wanted.
    """
    evaluators = cfg.get('test_evaluator') or []
    evaluators = [evaluators] if isinstance(evaluators, dict) else list(evaluators)
    classify = cfg.get('default_scope') == 'mmpretrain'
    is_pickle = Path(out).suffix in ('.pkl', '.pickle') and not Path(out).is_dir()
    if is_pickle and not classify:
        stop(
            f'--out is {out}, but the predictions of a segmentor are a PNG an image: give a folder.'
        )
    if Path(out).is_file() and not is_pickle:
        stop(f'--out is {out}, which is a file: give a folder for the predictions.')
    try:
        check_writable(Path(out).parent if is_pickle else out, '--out')
    except OSError as error:
        stop(str(error))
    if classify:
        path = str(out if is_pickle else Path(out, 'predictions.pkl'))
        cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=path)]
        return
    with METRICS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        iou_metric = registry.get('mmseg.IoUMetric')
        writer = next(
            (
                evaluator
                for evaluator in evaluators
                if issubclass(registry.get(evaluator['type']), iou_metric)
            ),
            None,
        )
    if writer is None:
        stop(
            f'--out needs an IoUMetric, or a metric derived from it, in test_evaluator, which '
            f'has {[evaluator["type"] for evaluator in evaluators]}: add one to the config.'
        )
    writer['output_dir'] = out


def main() -> None:
    """Evaluate."""
    args = parse_args()
    cfg = load_config(args, ROOT)
    if '://' not in args.checkpoint and not Path(args.checkpoint).is_file():
        stop(f'Checkpoint {args.checkpoint} does not exist: give the path of a .pth file.')
    cfg.load_from = args.checkpoint
    # A config that resumes would ask for the state of an optimizer, which testing has not.
    cfg.resume = False
    try:
        check_dataset_paths(cfg, ('test_dataloader',), suffixes=True)
    except FileNotFoundError as error:
        stop(str(error))
    if args.show or args.show_dir:
        paint_predictions(cfg, args)
    if args.tta:
        average_over_views(cfg)
    if args.out:
        keep_predictions(cfg, args.out)
    write_metrics_once(cfg)
    build_runner(cfg).test()


if __name__ == '__main__':
    main()
