"""Registries of scope ``lt_mm``: what makes ``type='lt_mm.X'`` work in any mm config.

mmengine imports this module by name when it first meets the scope, and a registry imports its
``locations`` when it first looks up a class. Nothing of lt_mm is imported here, so that an error
in a component is reported as what it is and not as a missing registry key.
"""

from typing import Any

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

# What earlier versions had, and what takes its place.
_HEADS = 'FCN PSP ASPP DepthwiseSeparableASPP UPer Segformer'.split()
SUCCESSORS = {
    'TeacherEncoderDecoder': 'LongTailEncoderDecoder, with the same teacher',
    'DecoupledEncoderDecoder': 'LongTailEncoderDecoder with freeze_encoder=True',
    'GMLClassifier': 'LongTailClassifier',
    'DecoupledClassifier': 'LongTailClassifier with freeze_encoder=True',
    'DistilledClassifier': 'LongTailClassifier, with distillation in its head',
    'RoutedClassifier': 'LongTailClassifier with freeze_encoder=True',
    'ContrastiveClsHead': 'CosineClsHead, with the same contrast and distillation',
    'DecoupledClsHead': 'LongTailClsHead',
    'DecoupledVisionTransformerClsHead': "LongTailClsHead with base='VisionTransformerClsHead'",
    **{f'Decoupled{head}Head': f"LongTailHead with base='{head}Head'" for head in _HEADS},
}


class ModelRegistry(Registry):
    """A registry that names the successor of what earlier versions had."""

    def get(self, key: str) -> Any:
        """What is registered under a name.

        Raises:
            KeyError: for a name of an earlier version.
        """
        successor = SUCCESSORS.get(key.removeprefix('lt_mm.'))
        if successor is not None:
            raise KeyError(f'lt_mm.{key.removeprefix("lt_mm.")} is gone; use lt_mm.{successor}.')
        return super().get(key)


DATA_SAMPLERS = Registry(
    'data sampler',
    parent=MMENGINE_DATA_SAMPLERS,
    scope='lt_mm',
    locations=['lt_mm.datasets.samplers'],
)
DATASETS = Registry(
    'dataset', parent=MMENGINE_DATASETS, scope='lt_mm', locations=['lt_mm.datasets']
)
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='lt_mm', locations=['lt_mm.engine.hooks'])
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='lt_mm', locations=['lt_mm.evaluation'])
MODELS = ModelRegistry('model', parent=MMENGINE_MODELS, scope='lt_mm', locations=['lt_mm.models'])
MODEL_WRAPPERS = Registry(
    'model_wrapper',
    parent=MMENGINE_MODEL_WRAPPERS,
    scope='lt_mm',
    locations=['lt_mm.engine.distributed'],
)
