"""Another classifier, and maps of its logits, for a head of either task."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_mm.models.layers.cosine import CosineConv2d, CosineLinear
from lt_mm.models.layers.post_compensation import PostCompensation
from lt_mm.registry import MODELS


class DecoupledHeadMixin:
    """What decoupled training changes in a head, and what is changed after training.

    A subclass for a task passes logits and features through :meth:`finish`.

    Args:
        args: those of the head.
        classifier: 'linear' leaves the head's own; 'cosine'; or the config of a layer with
            ``in_channels`` and ``num_classes``, such as ``dict(type='lt_mm.TauNormLinear',
            tau=0.7)`` or ``dict(type='lt_mm.NearestClassMeanLinear')``.
        temperature: tau_s of a cosine classifier. Defaults to that of the task.
        alignment: ``dict(type='lt_mm.LearnableWeightScaling')`` for LWS,
            ``dict(type='lt_mm.DisAlign')``: a module that takes logits and features. The head
            fills in ``num_classes`` and ``in_channels``.
        post_compensation: further arguments of :class:`PostCompensation`; ``dict()`` for its
            defaults. None for predictions as they were trained.
        freeze_classifier: whether only the alignment is trained, as in LWS of Kang et al. and in
            DisAlign; the classifier is that of the checkpoint.
        kwargs: those of the head.

    Raises:
        ValueError: for another classifier, or if nothing would be left to train.
    """

    classifier_path: ClassVar[str]
    default_temperature: ClassVar[float]
    # What the base class is given unless the config says otherwise.
    base_arguments: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init__(
        self,
        *args: Any,
        classifier: str | dict = 'linear',
        temperature: float | None = None,
        alignment: dict | None = None,
        post_compensation: dict | None = None,
        freeze_classifier: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **{**self.base_arguments, **kwargs})
        name = type(self).__name__
        own = self.get_submodule(self.classifier_path)
        num_classes, in_channels = own.weight.shape[:2]
        sizes = dict(num_classes=num_classes, in_channels=in_channels)
        if classifier == 'cosine':
            layer = CosineConv2d if isinstance(own, nn.Conv2d) else CosineLinear
            self._replace(layer(temperature=temperature or self.default_temperature, **sizes))
        elif isinstance(classifier, Mapping):
            self._replace(MODELS.build({**sizes, **classifier}))
        elif classifier != 'linear':
            raise ValueError(
                f"classifier of {name} is {classifier!r}; use 'linear', 'cosine' or the config of "
                'a layer.'
            )
        if freeze_classifier:
            if alignment is None:
                raise ValueError(
                    f'freeze_classifier of {name} leaves nothing to train; give an alignment, such '
                    "as dict(type='lt_mm.LearnableWeightScaling'), or leave it out."
                )
            self.get_submodule(self.classifier_path).requires_grad_(False)
        self.alignment: nn.Module | None = None
        if alignment is not None:
            self.alignment = MODELS.build({**sizes, **alignment})
        self.post_compensation: PostCompensation | None = None
        if post_compensation is not None:
            self.post_compensation = PostCompensation(num_classes, **post_compensation)

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

    def _replace(self, layer: nn.Module) -> None:
        owner, _, name = self.classifier_path.rpartition('.')
        setattr(self.get_submodule(owner), name, layer)
