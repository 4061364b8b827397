"""What inference with mmsegmentation alone needs of a training config, beside the model."""

import inspect
from collections.abc import Mapping, Sequence

from mmseg.evaluation import IoUMetric

from lt_mm.engine.data_config import walk_datasets

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


def names_lt_mm(settings: object) -> bool:
    """Whether something of lt_mm is named, as 'lt_mm.X', in a nest of dicts and lists."""
    if isinstance(settings, Mapping):
        return any(names_lt_mm(value) for value in settings.values())
    if isinstance(settings, str):
        return settings.startswith('lt_mm.')
    return isinstance(settings, Sequence) and any(names_lt_mm(value) for value in settings)


def inference_settings(settings: Mapping) -> dict:
    """The settings of a config that a program with mmsegmentation and without lt_mm can use.

    Kept are the test pipeline and custom imports and, where they need no lt_mm, the evaluation of
    the test set, test-time augmentation, the visualizer and the runtime. ``LongTailIoUMetric``
    becomes the ``IoUMetric`` that it extends. The model is not among them.

    Args:
        settings: a whole config, whose types are names; left as it is.

    Raises:
        ValueError: if there is no test pipeline, or one with a transform of lt_mm.
    """
    pipeline = _test_pipeline(settings)
    kept = dict(default_scope=settings.get('default_scope') or 'mmseg', test_pipeline=pipeline)
    settings = {**settings, 'test_evaluator': _plain_evaluator(settings.get('test_evaluator'))}
    for group in _GROUPS:
        found = {name: settings[name] for name in group if settings.get(name) is not None}
        if len(found) == len(group) and not names_lt_mm(found):
            kept.update(found)
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
            f'the test_pipeline of the config is {types}; inference with mmsegmentation needs one '
            'of transforms that it has.'
        )
    return pipeline


def _plain_evaluator(evaluator: Mapping | Sequence | None) -> dict | list | None:
    if isinstance(evaluator, Mapping):
        if not evaluator['type'].endswith('.LongTailIoUMetric'):
            return evaluator
        known = inspect.signature(IoUMetric).parameters
        return {'type': 'IoUMetric', **{k: v for k, v in evaluator.items() if k in known}}
    return evaluator and [_plain_evaluator(metric) for metric in evaluator]
