"""Registries of scope ``lt_mm``: what makes ``type='lt_mm.X'`` work in any mm config.

mmengine imports this module by name when it first meets the scope, and a registry imports its
``locations`` when it first looks up a class. Nothing of lt_mm is imported here, so that an error
in a component is reported as what it is and not as a missing registry key.
"""

import inspect
import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import wraps
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


_REFUSAL = re.compile(
    r"(?:(\w+)\.)?__init__\(\) (?:got an unexpected keyword argument '(\w+)'|takes exactly one arg)"
)


def did_you_mean(name: str, known: Iterable[str] | type) -> str:
    """What a message about an unknown name asks, if any is near; otherwise nothing.

    Args:
        name: what was given.
        known: what there is; of a class, its arguments.
    """
    near = get_close_matches(name, arguments_of(known) if isinstance(known, type) else known, n=1)
    return f' (did you mean {near[0]!r}?)' if near else ''


class LongTailRegistry(Registry):
    """A registry that names what is near to a misspelt class or argument, and gone names' heirs.

    Its classes say so themselves, however they are built: their ``__init__`` is wrapped.
    """

    def register_module(self, *args: Any, **kwargs: Any) -> Any:
        """As that of mmengine, which see."""
        registered = super().register_module(*args, **kwargs)
        if isinstance(registered, type):
            return _naming_near_arguments(registered)
        # Still the decorator: what comes back of it is what it is given.
        return lambda module: _naming_near_arguments(registered(module))

    def __contains__(self, key: str) -> bool:
        return super().get(key) is not None

    def get(self, key: str) -> Any:
        """What is registered under a name.

        Raises:
            KeyError: if nothing is; a path with dots is left to mmengine, which imports it.
        """
        found = super().get(key)
        name = key.removeprefix(f'{self.scope}.')
        if found is not None or '.' in name:
            return found
        if name in SUCCESSORS:
            raise KeyError(f'lt_mm.{name} is gone; use lt_mm.{SUCCESSORS[name]}.')
        near = did_you_mean(name, self.module_dict).replace("'", "'lt_mm.", 1)
        for other in REGISTRIES:
            other.import_from_location()
        others = [other.name for other in REGISTRIES if name in other.module_dict]
        is_what = f', but a {others[0]}' if others else ''
        raise KeyError(
            f'lt_mm has no {self.name} {name!r}{near}{is_what}; check the type of this {self.name} '
            'and its spelling.'
        )


def arguments_of(cls: type) -> list[str]:
    """Names of what can be given to a class, those of its bases included.

    Args:
        cls: any.
    """
    inits = [vars(base)['__init__'] for base in cls.__mro__[:-1] if '__init__' in vars(base)]
    named = [
        parameter.name
        for init in inits
        for parameter in list(inspect.signature(init).parameters.values())[1:]
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    return list(dict.fromkeys(named))


def _naming_near_arguments(cls: Any) -> Any:
    if not isinstance(cls, type):
        return cls
    own = vars(cls).get('__init__')

    @wraps(cls.__init__)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            if own is None:
                super(cls, self).__init__(*args, **kwargs)
            else:
                own(self, *args, **kwargs)
        except TypeError as error:
            refusal, kind = _REFUSAL.search(str(error)), type(self)
            if not refusal or refusal[1] not in (None, *(base.__name__ for base in kind.__mro__)):
                raise
            option = refusal[2] or next(iter(kwargs), None)
            if option not in kwargs:
                raise
            known = arguments_of(kind)
            raise TypeError(
                f'{kind.__name__} has no argument {option!r}{did_you_mean(option, known)}; it '
                f'takes {", ".join(known) or "none"}.'
            ) from error

    cls.__init__ = init
    return cls


DATA_SAMPLERS = LongTailRegistry(
    'data sampler',
    parent=MMENGINE_DATA_SAMPLERS,
    scope='lt_mm',
    locations=['lt_mm.datasets.samplers'],
)
DATASETS = LongTailRegistry(
    'dataset', parent=MMENGINE_DATASETS, scope='lt_mm', locations=['lt_mm.datasets']
)
HOOKS = LongTailRegistry(
    'hook', parent=MMENGINE_HOOKS, scope='lt_mm', locations=['lt_mm.engine.hooks']
)
METRICS = LongTailRegistry(
    'metric', parent=MMENGINE_METRICS, scope='lt_mm', locations=['lt_mm.evaluation']
)
MODELS = LongTailRegistry(
    'model', parent=MMENGINE_MODELS, scope='lt_mm', locations=['lt_mm.models']
)
MODEL_WRAPPERS = LongTailRegistry(
    'model_wrapper',
    parent=MMENGINE_MODEL_WRAPPERS,
    scope='lt_mm',
    locations=['lt_mm.engine.distributed'],
)
REGISTRIES = (DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS, MODEL_WRAPPERS)
