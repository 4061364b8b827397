"""The options that make any head a long-tailed one, once for both tasks."""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar

from mmengine.registry import Registry
from torch import Tensor, nn

from lt_mm.functional import check_number
from lt_mm.models.alpha import LogitAdjusted, hand_alpha
from lt_mm.models.layers import (
    CosineConv2d,
    CosineLinear,
    NearestClassMeanLinear,
    PostCompensation,
    TauNormConv2d,
    TauNormLinear,
)
from lt_mm.models.losses import ContrastLoss, LDAMLoss, LogitLoss
from lt_mm.registry import MODELS

CLASSIFIERS = ('linear', 'cosine', 'tau_normalized', 'class_means')
_LAYERS = {
    ('cosine', nn.Linear): CosineLinear,
    ('cosine', nn.Conv2d): CosineConv2d,
    ('tau_normalized', nn.Linear): TauNormLinear,
    ('tau_normalized', nn.Conv2d): TauNormConv2d,
    ('class_means', nn.Linear): NearestClassMeanLinear,
}
_EXAMPLES = dict(
    alignment="dict(type='lt_mm.DisAlign')",
    post_compensation='dict(alpha=1.0)',
    contrast="dict(type='lt_mm.GMLLoss')",
    distillation="dict(type='lt_mm.KDLoss')",
)
# Arguments of earlier versions, and what is to be written in their place.
_RENAMED = {
    'gml': "contrast=dict(type='lt_mm.GMLLoss', ...)",
    'temperature': 'classifier_temperature',
}


class LongTailOptions:
    """What :class:`LongTailHead` and :class:`LongTailClsHead` add to a head of their task.

    An instance is one of a subclass of ``base``, too: it has its weights under its names, loads
    its checkpoints, and does all else as it does.

    Args:
        args: those of the head.
        base: the head, as a config names it, or its class.
        classifier: 'linear' leaves the head's own; 'cosine'; 'tau_normalized' and 'class_means' are
            linear in training; or the config of a layer with ``in_channels`` and ``num_classes``,
            such as ``dict(type='lt_mm.TauNormLinear', tau=0.7)``.
        classifier_temperature: tau_s of a cosine classifier. Defaults to that of the task.
        alignment: ``dict(type='lt_mm.LearnableWeightScaling')`` for LWS,
            ``dict(type='lt_mm.DisAlign')``: a module that takes logits and features. The head
            fills in ``num_classes`` and ``in_channels``.
        post_compensation: further arguments of :class:`~lt_mm.models.layers.PostCompensation`;
            ``dict()`` for its defaults. None for predictions as they were trained.
        freeze_classifier: whether only the alignment is trained, as in LWS of Kang et al. and in
            DisAlign; the classifier is that of the checkpoint.
        alpha: strength of the logit adjustment in every ``LogitAdjustedLoss``, ``GMLLoss`` and
            ``TextGMLLoss`` of the head, and of the heads beside it, that does not set its own.
            Defaults to that of the losses, 1.
        contrast: ``dict(type='lt_mm.GMLLoss')`` or another
            :class:`~lt_mm.models.losses.ContrastLoss`. The head fills in ``num_classes`` and
            ``in_channels``.
        distillation: ``dict(type='lt_mm.KDLoss', temperature=4.0)``: a module that takes the logits
            of the student, without the log prior, and those of the teacher that the network has.
        kwargs: those of the head.

    Raises:
        TypeError: if an argument is unknown to the head.
        ValueError: if there is no such head, it has no such classifier, options do not go
            together, or a number is not in its range.

    Attributes:
        base_class: the class that ``base`` names.
        classifier_path: where the classifier is in the head.
        model_alpha: ``alpha``, for the losses of other heads of a network.
    """

    registry: ClassVar[Registry]
    default_temperature: ClassVar[float]
    example_base: ClassVar[str]
    base_class: ClassVar[type]

    def __new__(cls, *args: Any, base: str | type | None = None, **kwargs: Any) -> Any:
        """An instance of the subclass that this class and ``base`` make."""
        if not issubclass(cls, nn.Module):
            return object.__new__(cls.on(base))
        if base is not None:
            raise TypeError(
                f'base of {cls.__name__} is {base!r}, but this class has its base already; leave '
                f'it out, or use lt_mm.{_options(cls).__name__}.'
            )
        return object.__new__(cls)

    def __reduce_ex__(self, protocol: int) -> Any:
        """A class that was made for a base cannot be found by its name, but made again."""
        if 'base_class' not in vars(type(self)):
            return super().__reduce_ex__(protocol)
        return _empty, (_options(type(self)), self.base_class), self.__getstate__()

    def __getstate__(self) -> dict:
        """What is copied and pickled."""
        return self.__dict__

    def __init__(
        self,
        *args: Any,
        base: str | type | None = None,
        classifier: str | Mapping = 'linear',
        classifier_temperature: float | None = None,
        alignment: dict | None = None,
        post_compensation: dict | None = None,
        freeze_classifier: bool = False,
        alpha: float | None = None,
        contrast: dict | None = None,
        distillation: dict | None = None,
        **kwargs: Any,
    ) -> None:
        self._refuse_renamed(kwargs)
        super().__init__(*args, **kwargs, **self.base_arguments())
        self.classifier_path = self.find_classifier()
        own = self._classifier()
        self._check_options(classifier, classifier_temperature, alignment, freeze_classifier, alpha)
        if classifier == 'class_means':
            self._refuse_with_class_means(alignment=alignment, post_compensation=post_compensation)
        self._check_configs(
            alignment=alignment,
            post_compensation=post_compensation,
            contrast=contrast,
            distillation=distillation,
        )
        num_classes, in_channels = own.weight.shape[:2]
        # The weight of a convolution with groups is narrower than its features.
        in_channels = getattr(own, 'in_channels', in_channels)
        self._check_single(num_classes)
        sizes = dict(num_classes=num_classes, in_channels=in_channels)
        layer = self._layer(own, classifier, classifier_temperature, sizes)
        # What acts on the classifier, or needs its features, is in vain where it is not called.
        self._needs_classifier = bool(layer is not own or alignment or contrast)
        if layer is not own:
            owner, _, name = self.classifier_path.rpartition('.')
            setattr(self.get_submodule(owner), name, layer)
        if isinstance(layer, CosineLinear):
            for loss in self._classification_losses():
                if isinstance(loss, LDAMLoss):
                    loss.inherit_scale(1 / layer.temperature, type(self).__name__)
        if freeze_classifier:
            layer.requires_grad_(False)
        self.alignment: nn.Module | None = None
        if alignment is not None:
            self.alignment = self._built(
                'alignment', {**sizes, **alignment}, 'gives a loss and no logits'
            )
        self.post_compensation: PostCompensation | None = None
        if post_compensation is not None:
            self.post_compensation = PostCompensation(num_classes, **post_compensation)
        self.contrast: ContrastLoss | None = None
        if contrast is not None:
            self.contrast = self._built_contrast({**sizes, **contrast})
        self.distillation: nn.Module | None = None
        if distillation is not None:
            self.distillation = self._built(
                'distillation', distillation, 'takes no logits of a teacher'
            )
        self.model_alpha = alpha
        self._apply_alpha(alpha)
        self._warn_of_correcting_twice()

    @classmethod
    def on(cls, base: str | type | None) -> type:
        """The class of the heads with these options on a base.

        Args:
            base: name or class of a head.

        Raises:
            ValueError: if there is no such head, or it cannot have the options.
        """
        found = base
        # A name with an empty part, such as '', makes the registry fail.
        if isinstance(base, str) and all(base.split('.')):
            with cls.registry.switch_scope_and_registry(None) as current:
                found = current.get(base) if base in current else None
                for registry in (cls.registry, MODELS):
                    if found is None and base in registry:
                        found = registry.get(base)
        is_class = isinstance(found, type)
        # Of presets, which are functions, the defaults are known.
        if issubclass(found, LongTailOptions) if is_class else hasattr(found, 'defaults'):
            raise ValueError(
                f'base of {cls.__name__} is {base!r}, which has these options already; name the '
                'plain head.'
            )
        if base is None:
            raise ValueError(
                f'base of {cls.__name__} is missing; name the head that it wraps, such as '
                f"base='{cls.example_base}'."
            )
        if not is_class:
            heads = [name for name, kind in cls.registry.module_dict.items() if cls._fits(kind)]
            near = get_close_matches(str(base), heads, n=1, cutoff=0.75)
            hint = f'perhaps {near[0]!r}' if near else f'name one such as {cls.example_base!r}'
            raise ValueError(f'base of {cls.__name__} is {base!r}, which is no known head; {hint}.')
        cls.check_base(found)
        return _combined(cls, found)

    @classmethod
    def _fits(cls, kind: Any) -> bool:
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            return False
        try:
            cls.check_base(kind)
        except ValueError:
            return False
        return not issubclass(kind, LongTailOptions)

    @classmethod
    def check_base(cls, base: type) -> None:
        """Refuse a head that the options cannot act on.

        Raises:
            ValueError: saying why, and what to use.
        """
        raise NotImplementedError

    @classmethod
    def base_arguments(cls) -> dict[str, Any]:
        """Arguments of the base that the options decide on."""
        return {}

    def find_classifier(self) -> str:
        """Where the classifier is in the head, as it was built.

        Raises:
            ValueError: if there is no one such layer.
        """
        raise NotImplementedError

    @property
    def takes_keys(self) -> bool:
        """Whether the contrast loss compares with keys."""
        return self.contrast is not None and self.contrast.takes_keys

    @property
    def key_channels(self) -> dict[str, int]:
        """Width of the keys that are taken, by the argument that sets it."""
        return {'contrast.key_channels': self.contrast.key_channels} if self.takes_keys else {}

    def finish(self, logits: Tensor, features: Tensor | None) -> Tensor:
        """Align the logits and, in eval mode, compensate them.

        Args:
            logits: (N, C, ...), of the classifier.
            features: (N, D, ...) that it saw; not needed without an alignment.
        """
        if self.alignment is not None:
            logits = self.alignment(logits, features)
        if self.post_compensation is not None:
            logits = self.post_compensation(logits)
        return logits

    def init_weights(self) -> None:
        """Initialise the base as its ``init_cfg`` says, and what was added as that says itself."""
        names = ('alignment', 'post_compensation', 'contrast', 'distillation')
        added = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        # An init_cfg that names a type of layer would reach the layers of what was added, too.
        for name in added:
            setattr(self, name, None)
        try:
            super().init_weights()
        finally:
            for name, part in added.items():
                setattr(self, name, part)
        for part in added.values():
            if hasattr(part, 'init_weights'):
                part.init_weights()

    def distillation_loss(self, logits: Tensor, teacher_logits: Tensor | None) -> Tensor:
        """L_KD of (N, C, ...) logits.

        Raises:
            ValueError: if there is no teacher, or it has other classes.
        """
        return distillation_loss(self.distillation, logits, teacher_logits, type(self).__name__)

    def _classifier(self) -> nn.Module:
        return self.get_submodule(self.classifier_path)

    def _classification_losses(self) -> list[nn.Module]:
        """The losses of the base."""
        raise NotImplementedError

    def _layer(
        self,
        own: nn.Module,
        classifier: str | Mapping,
        temperature: float | None,
        sizes: dict[str, int],
    ) -> nn.Module:
        if classifier == 'linear':
            return own
        if not is_pixelwise(own):
            raise ValueError(
                f'classifier of {type(self).__name__} is {classifier!r}, which takes the '
                f'features of one pixel, but {self.classifier_path} of the base is {own}; '
                "choose a base that has a convolution of kernel size 1 there, or 'linear'."
            )
        if isinstance(classifier, Mapping):
            return MODELS.build({**sizes, **classifier})
        kind = nn.Conv2d if isinstance(own, nn.Conv2d) else nn.Linear
        layer = _LAYERS.get((classifier, kind))
        if layer is None:
            raise ValueError(
                f'classifier of {type(self).__name__} is {classifier!r}, which there is for '
                "images alone; use 'linear', 'cosine' or 'tau_normalized'."
            )
        if classifier == 'cosine':
            sizes = dict(
                sizes, temperature=self.default_temperature if temperature is None else temperature
            )
        return layer(**sizes)

    @classmethod
    def _refuse_renamed(cls, kwargs: Mapping[str, Any]) -> None:
        for old in _RENAMED.keys() & kwargs.keys():
            # DNLHead has a temperature of its own.
            if not any(
                old in inspect.signature(base.__init__).parameters for base in cls.__mro__[:-1]
            ):
                raise TypeError(
                    f'{old} of {cls.__name__} has another name now; use {_RENAMED[old]}.'
                )

    def _check_options(
        self,
        classifier: str | Mapping,
        temperature: float | None,
        alignment: dict | None,
        freeze_classifier: bool,
        alpha: float | None,
    ) -> None:
        name = type(self).__name__
        if not isinstance(classifier, Mapping) and classifier not in CLASSIFIERS:
            raise ValueError(
                f'classifier of {name} is {classifier!r}; use '
                f'{", ".join(map(repr, CLASSIFIERS))} or the config of a layer.'
            )
        if temperature is not None and classifier != 'cosine':
            raise ValueError(
                f'classifier_temperature of {name} is {temperature}, but the classifier is '
                f"{classifier!r} and has none; set classifier='cosine', or leave it out."
            )
        if temperature is not None:
            advice = f'the default is {self.default_temperature:.3g}'
            check_number('classifier_temperature', temperature, name, advice, positive=True)
        if alpha is not None:
            check_number('alpha', alpha, name, 'use 0 to 1')
        if freeze_classifier and alignment is None:
            raise ValueError(
                f'freeze_classifier of {name} leaves nothing to train; give an alignment, such '
                "as dict(type='lt_mm.LearnableWeightScaling'), or leave it out."
            )

    def _refuse_with_class_means(self, **parts: dict | None) -> None:
        for option, part in parts.items():
            if part is not None:
                raise ValueError(
                    f"classifier of {type(self).__name__} is 'class_means', whose scores are "
                    f'distances without a prior in them, so that {option} would change what is not '
                    "there; leave one of the two out, or use classifier='linear'."
                )

    def _check_configs(self, **parts: dict | None) -> None:
        for option, part in parts.items():
            example = _EXAMPLES[option]
            is_config = isinstance(part, Mapping) and ('type' in part or 'type' not in example)
            if part is not None and not is_config:
                raise ValueError(
                    f'{option} of {type(self).__name__} is {part!r}, but it must be the config of '
                    f'a part, such as {example}, or None.'
                )

    def _check_single(self, num_classes: int) -> None:
        for loss in self._classification_losses():
            if num_classes == 1 and not getattr(loss, 'use_sigmoid', False):
                raise ValueError(
                    f'num_classes of {type(self).__name__} is 1, but over one class the softmax of '
                    f'its {type(loss).__name__} is always 1, so that nothing would be learnt; set '
                    'num_classes=2, with the background as a class, or use a loss with '
                    'use_sigmoid=True.'
                )

    def _built(self, option: str, config: dict, lack: str) -> nn.Module:
        """An alignment or a distillation, which is no loss of the other options."""
        kind = _component(config)
        if isinstance(kind, type) and issubclass(kind, (ContrastLoss, LogitLoss)):
            place = 'contrast' if issubclass(kind, ContrastLoss) else 'loss'
            raise ValueError(
                f'{option} of {type(self).__name__} is a {kind.__name__}, which {lack}; use '
                f'{_EXAMPLES[option]} there, and give the loss as {place} of the head.'
            )
        return MODELS.build(config)

    def _built_contrast(self, config: dict) -> ContrastLoss:
        kind = _component(config)
        if isinstance(kind, type) and not issubclass(kind, ContrastLoss):
            raise ValueError(
                f'contrast of {type(self).__name__} is a {kind.__name__}, which compares no '
                'features; use lt_mm.GMLLoss or another ContrastLoss, and give losses of logits to '
                'the loss of the head.'
            )
        return MODELS.build(config)

    def _apply_alpha(self, alpha: float | None) -> None:
        hand_alpha(self, alpha)
        for loss in self._classification_losses():
            if alpha and not isinstance(loss, LogitAdjusted):
                warnings.warn(
                    f'alpha={alpha} of {type(self).__name__} does not act on its '
                    f"{type(loss).__name__}; use dict(type='lt_mm.LogitAdjustedLoss') there.",
                    stacklevel=4,
                )

    def _warn_of_correcting_twice(self) -> None:
        post = self.post_compensation
        if post is None or not post.alpha > 0:
            return
        for loss in self._classification_losses():
            trained = getattr(loss, 'alpha', 0.0) if isinstance(loss, LogitAdjusted) else 0.0
            if trained > 0 and trained + post.alpha > 1 + 1e-6:
                warnings.warn(
                    f'alpha={post.alpha:g} of the post_compensation of {type(self).__name__} comes '
                    f'on top of alpha={trained:g} of its {type(loss).__name__}, which corrects for '
                    f'the prior twice; use up to {max(0, 1 - trained):g} in one of them, or leave '
                    'it out.',
                    stacklevel=4,
                )


def is_pixelwise(layer: nn.Module) -> bool:
    """Whether a layer is no convolution, or one that is a linear layer at every pixel."""
    if not isinstance(layer, nn.Conv2d):
        return True
    alone = layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1
    return alone and layer.padding in ((0, 0), 'same', 'valid')


def distillation_loss(
    distillation: nn.Module, logits: Tensor, teacher_logits: Tensor | None, owner: str
) -> Tensor:
    """What a distillation says of the logits of a student and of its teacher.

    Args:
        distillation: a module that takes both.
        logits: (N, C, ...).
        teacher_logits: of the same shape; None where there is no teacher.
        owner: what the error calls the head.

    Raises:
        ValueError: if there is no teacher, or it gives logits of another shape.
    """
    if teacher_logits is None:
        raise ValueError(
            f'the distillation of {owner} has no teacher; use lt_mm.LongTailClassifier or '
            'lt_mm.LongTailEncoderDecoder with teacher=dict(config=..., checkpoint=...) as model, '
            'or leave distillation out.'
        )
    if teacher_logits.shape != logits.shape:
        raise ValueError(
            f'the teacher gives logits of shape {tuple(teacher_logits.shape)}, but those of '
            f'{owner} have {tuple(logits.shape)}; use a teacher of the same classes.'
        )
    return distillation(logits, teacher_logits)


def preset(name: str, head: type, **defaults: Any) -> Callable[..., nn.Module]:
    """Register a head under a name of its own with a few defaults, which a config may override.

    Args:
        name: in the registry.
        head: :class:`LongTailHead` or :class:`LongTailClsHead`.
        defaults: its arguments. ``contrast`` is completed by what a config gives, and replaced by a
            contrast of another type.
    """

    def build(*args: Any, **kwargs: Any) -> nn.Module:
        given, known = kwargs.get('contrast'), defaults.get('contrast')
        if given is not None and known is not None:
            if 'type' not in given or _component(given) is _component(known):
                kwargs['contrast'] = {**known, **given}
        return head(*args, **{**defaults, **kwargs})

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f':class:`{head.__name__}` with {defaults}.'
    build.defaults = MappingProxyType(defaults)
    return MODELS.register_module(name=name, module=build)


def _component(config: Mapping) -> Any:
    """What the type of a config is the name of; None for no known name."""
    if not isinstance(config['type'], str):
        return config['type']
    with MODELS.switch_scope_and_registry(config.get('_scope_')) as registry:
        return registry.get(config['type'])


@functools.cache
def _combined(options: type, base: type) -> type:
    name = f'LongTail{base.__name__}'
    attributes = dict(__doc__=base.__doc__, __module__=options.__module__, base_class=base)
    return type(name, (options, base), attributes)


def _options(head: type) -> type:
    """The class of options that a class of heads has."""
    return next(one for one in head.__mro__ if not issubclass(one, nn.Module))


def _empty(options: type, base: type) -> Any:
    """An instance without attributes, for :mod:`pickle` to fill."""
    return object.__new__(options.on(base))
