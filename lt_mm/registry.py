"""Registries of scope ``lt_mm``: what makes ``type='lt_mm.X'`` work in any mm config.

mmengine imports this module by name when it first meets the scope, and a registry imports its
``locations`` when it first looks up a class. Nothing of lt_mm is imported here, so that an error
in a component is reported as what it is and not as a missing registry key.
"""

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

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
MODELS = Registry('model', parent=MMENGINE_MODELS, scope='lt_mm', locations=['lt_mm.models'])
MODEL_WRAPPERS = Registry(
    'model_wrapper',
    parent=MMENGINE_MODEL_WRAPPERS,
    scope='lt_mm',
    locations=['lt_mm.engine.distributed'],
)
