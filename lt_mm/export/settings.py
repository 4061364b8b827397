"""What inference with an mm package alone needs of a training config, beside the model."""

import inspect
from collections.abc import Mapping, Sequence

from mmseg.evaluation import IoUMetric

from lt_mm.engine.data_config import walk_datasets
from lt_mm.export.plain_model import names_lt_mm

# mmengine's Runner wants all of a group or none of it.
_GROUPS = (
    ('test_dataloader', 'test_evaluator', 'test_cfg'),
    ('tta_model', 'tta_pipeline'),
    ('vis_backends', 'visualizer'),
    ('default_hooks',),
    ('env_cfg',),
    ('log_level',),
    ('log_processor',),
)


def inference_settings(settings: Mapping, scope: str) -> dict:
    """The settings of a config that a program with an mm package and without lt_mm can use.

    Kept are the test pipeline and custom imports and, where they need no lt_mm, the evaluation of
    the test set, test-time augmentation, the visualizer and the runtime. ``LongTailIoUMetric``
    becomes the ``IoUMetric`` that it extends, ``LongTailAccuracy`` and ``ExpertAccuracy`` become
    ``Accuracy``. The model is not among them.

    Args:
        settings: a whole config, whose types are names; left as it is.
        scope: of the package, where the config names none.

    Raises:
        ValueError: if there is no test pipeline, or one with a transform of lt_mm.
    """
    pipeline = _test_pipeline(settings)
    kept = dict(default_scope=settings.get('default_scope') or scope, test_pipeline=pipeline)
    settings = {**settings, 'test_evaluator': _plain_evaluator(settings.get('test_evaluator'))}
    for group in _GROUPS:
        found = {name: settings[name] for name in group if settings.get(name) is not None}
        if len(found) == len(group) and not names_lt_mm(found):
            kept.update(found)
    if kept['default_scope'] == 'mmpretrain':
        # mmpretrain's inference looks for the pipeline here alone.
        dataset = dict(type='CustomDataset', pipeline=pipeline)
        kept.setdefault('test_dataloader', dict(dataset=dataset))
    custom = settings.get('custom_imports') or {}
    imports = custom.get('imports') or []
    imports = [imports] if isinstance(imports, str) else imports
    imports = [name for name in imports if name.split('.')[0] != 'lt_mm']
    return {**kept, 'custom_imports': {**custom, 'imports': imports}} if imports else kept


def _test_pipeline(settings: Mapping) -> list[dict]:
    pipeline = settings.get('test_pipeline')
    if pipeline is None:
        dataset = (settings.get('test_dataloader') or {}).get('dataset')
        innermost = (inner for _, inner in walk_datasets(dataset, ''))
        pipeline = next((inner.get('pipeline') for inner in innermost), None)
    if pipeline is None or names_lt_mm(pipeline):
        types = pipeline and [transform['type'] for transform in pipeline]
        raise ValueError(
            f'the test_pipeline of the config is {types}; inference needs one of transforms that '
            'mmsegmentation or mmpretrain has.'
        )
    return pipeline


def _plain_evaluator(evaluator: Mapping | Sequence | None) -> dict | list | None:
    if not isinstance(evaluator, Mapping):
        return evaluator and [_plain_evaluator(metric) for metric in evaluator]
    if evaluator['type'].endswith('.LongTailIoUMetric'):
        known = inspect.signature(IoUMetric).parameters
        return {'type': 'IoUMetric', **{k: v for k, v in evaluator.items() if k in known}}
    if evaluator['type'].endswith(('.LongTailAccuracy', '.ExpertAccuracy')):
        return dict(type='Accuracy', topk=(1,))
    return evaluator
