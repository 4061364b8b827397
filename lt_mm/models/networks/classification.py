"""ImageClassifier with several views, a frozen teacher, a momentum encoder or frozen parts."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import ExponentialMovingAverage
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from lt_mm.models.backbones import MultiExpertResNet
from lt_mm.models.heads import LongTailClsHead, RoutedClsHead
from lt_mm.models.networks.frozen_parts import FrozenParts
from lt_mm.models.networks.taught import Taught
from lt_mm.models.networks.views import check_views, forward_views
from lt_mm.models.teachers import check_feature_width
from lt_mm.models.teachers.classification_teacher import ClassificationTeacher, TeacherOutput
from lt_mm.registry import MODELS


@MODELS.register_module()
class LongTailClassifier(FrozenParts, Taught, ImageClassifier):
    """An ImageClassifier with what contrast losses, distillation, stages and routing need.

    With a contrast loss in the head, a batch is one view of the images, or a list of up to three,
    as mmpretrain's MultiView and SelfSupDataPreprocessor give it. The first view is classified; the
    last two are contrasted (all, where there are fewer): queries are the student's features of as
    many of them as the loss asks for, from the first on, keys are features of the last. Keys are
    made by the teacher; else by the momentum encoder; else by the student, without gradient. The
    teacher sees the very views the student sees, in eval mode, and its logits for the first view
    are distilled.

    Prediction is that of an ImageClassifier of the same parts. A checkpoint holds, beside these,
    ``head.contrast.*`` (with queues), ``head.loss_module.*`` (class counts) and ``key_encoder.*``,
    of which prediction needs none. With a :class:`MultiExpertResNet` and a :class:`RoutedClsHead`
    every expert runs on the images that ask it and on no others.

    Args:
        args: those of mmpretrain's ImageClassifier.
        teacher: ``dict(config=..., checkpoint=...)``, see :class:`ClassificationTeacher`. It is in
            no checkpoint, no optimizer and no DDP bucket, and loaded when training initialises the
            weights. ``dict()`` for one that an earlier stage gives.
        key_momentum: share of the old weights in an update of the momentum encoder, in MoCo's
            sense, such as 0.999. The encoder, ``key_encoder``, follows backbone and neck once a
            training forward: where gradients of n forwards are accumulated, give the n-th root.
            It runs in training mode, on statistics of its own batch. None for no such encoder.
        freeze_encoder: whether backbone and neck stay as they are, so that the head alone is
            trained; take their weights from ``load_from``.
        frozen_batch_norm: 'eval' or 'statistics', see
            :class:`~lt_mm.models.networks.frozen_parts.FrozenParts`.
        data_preprocessor: mmpretrain's argument.
        train_cfg: mmpretrain's argument; batch augmentations, for one view only.
        kwargs: further ones of mmpretrain's ImageClassifier.

    Raises:
        ValueError: if the head has a distillation but no teacher, or nothing in it uses the
            teacher or the momentum encoder; if ``key_momentum`` is not between 0 and 1; if the
            encoder under a :class:`RoutedClsHead` is not frozen. In training, if the teacher gives
            features of another width than the loss takes, or was trained on otherwise normalised
            images, or the batch has no one to three views.

    Source: Suh and Seo, ICML 2023, section 3.3, section 4.2 and Table 7.
    """

    teacher_class = ClassificationTeacher

    def __init__(
        self,
        *args: Any,
        teacher: dict | None = None,
        key_momentum: float | None = None,
        freeze_encoder: bool = False,
        frozen_batch_norm: str = 'eval',
        data_preprocessor: dict | nn.Module | None = None,
        train_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(data_preprocessor, dict) and train_cfg is None:
            # ImageClassifier gives every data_preprocessor the batch_augments that only its own
            # default knows.
            data_preprocessor = MMPRETRAIN_MODELS.build(
                {'type': 'ClsDataPreprocessor', **data_preprocessor}
            )
        super().__init__(
            *args,
            teacher=teacher,
            freeze_encoder=freeze_encoder,
            frozen_batch_norm=frozen_batch_norm,
            data_preprocessor=data_preprocessor,
            train_cfg=train_cfg,
            **kwargs,
        )
        self.key_encoder: ExponentialMovingAverage | None = None
        self._check_parts(key_momentum)
        if key_momentum is not None:
            self.key_encoder = ExponentialMovingAverage(self._encoder(), 1 - key_momentum)

    def loss(
        self, inputs: Tensor | Sequence[Tensor], data_samples: list[DataSample]
    ) -> dict[str, Tensor]:
        """The losses of the head, with queries, keys and logits from whoever gives them.

        Args:
            inputs: (B, C, H, W), or one to three such views of different sizes or of one.
            data_samples: of the B images.
        """
        views = check_views(inputs, type(self).__name__)
        head = self.head
        if getattr(head, 'contrast', None) is None and not _distils(head):
            return super().loss(views[0], data_samples)
        last = len(views) - 1
        queries = range(len(views))[-2:][: head.num_query_views]
        wanted = {0, *queries}
        own_keys = head.takes_keys and not self.has_teacher and self.key_encoder is None
        if own_keys:
            wanted.add(last)
        student = forward_views(self.extract_feat, views, wanted)
        taught = self._taught(views)
        given = {}
        # Each view goes through the head once, the classified one in its loss.
        rows = {view: head.classifier_input(student[view]) for view in queries if view}
        if queries:
            given['queries'] = [rows.get(view) for view in queries]
        if own_keys and last in rows:
            given['keys'] = rows[last]
        elif head.takes_keys and (last or not own_keys):
            given['keys'] = self._keys(views[last], student.get(last), taught.get(last))
        if _distils(head):
            given['teacher_logits'] = taught[0].logits
        return head.loss(student[0], data_samples, **given)

    def predict(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs: Any
    ) -> list[DataSample]:
        """Predictions; with a :class:`RoutedClsHead`, how many experts each image asked, too.

        Args:
            inputs: (N, C, H, W).
            data_samples: N to be filled in. Defaults to new ones.
            kwargs: those of ImageClassifier.
        """
        backbone = self.backbone
        if not (isinstance(self.head, RoutedClsHead) and isinstance(backbone, MultiExpertResNet)):
            return super().predict(inputs, data_samples, **kwargs)
        common = inputs if backbone.shared is None else backbone.shared(inputs)[-1]

        def features_of(expert: int, rows: Tensor) -> Tensor:
            stages = backbone.experts[expert](common[rows])
            stages = tuple(stage.unsqueeze(1) for stage in stages)
            return (self.neck(stages) if self.with_neck else stages)[-1][:, 0]

        routed = self.head.route(features_of, len(inputs))
        return self.head.predictions(*routed, data_samples)

    def _taught(self, views: Sequence[Tensor]) -> dict[int, TeacherOutput]:
        """What the teacher says of the views that something asks it about."""
        if self.teacher is None:
            return {}
        wanted = {0} if _distils(self.head) else set()
        if self.head.takes_keys:
            wanted.add(len(views) - 1)
        outputs = forward_views(self.teacher, views, wanted)
        return {view: TeacherOutput(*output) for view, output in outputs.items()}

    @torch.no_grad()
    def _keys(
        self, view: Tensor, student: tuple[Tensor, ...] | None, taught: TeacherOutput | None
    ) -> Tensor:
        """(B, key_channels) features of the last view."""
        if taught is not None:
            for argument, width in self.head.key_channels.items():
                check_feature_width(taught.features.shape[1], width, f'head.{argument}')
            return taught.features
        if self.key_encoder is None:
            return self.head.classifier_input(student)
        if self.training:
            self.key_encoder.update_parameters(self._encoder())
        return self.head.classifier_input(self.key_encoder(view))

    def _encoder(self) -> nn.Sequential:
        """Backbone and neck as one module, which is not kept."""
        return nn.Sequential(*(part for part in (self.backbone, self.neck) if part is not None))

    def _check_parts(self, key_momentum: float | None) -> None:
        name, head = type(self).__name__, type(self.head).__name__
        distils, has_teacher = _distils(self.head), self.has_teacher
        takes_keys = getattr(self.head, 'takes_keys', False)
        if isinstance(self.head, BaseDecodeHead):
            raise ValueError(
                f'the head of {name} is a {head}, which classifies pixels; use '
                'lt_mm.LongTailClsHead, or lt_mm.LongTailEncoderDecoder as model.'
            )
        if isinstance(self.backbone, MultiExpertResNet) and isinstance(self.head, LongTailClsHead):
            raise ValueError(
                f'the head {head} of {name} takes the features of one network, but its backbone '
                f'has {self.backbone.num_experts} experts; use lt_mm.MultiExpertClsHead with a '
                'config for each.'
            )
        if distils and not has_teacher:
            raise ValueError(
                f'the head {head} has a distillation, but {name} has no teacher; set '
                'teacher=dict(config=..., checkpoint=...), or leave distillation out.'
            )
        if has_teacher and not (distils or takes_keys):
            raise ValueError(
                f'{name} has a teacher, but the head {head} takes neither its features as keys nor '
                'its logits; give the head a contrast loss that takes keys, such as lt_mm.GMLLoss, '
                'or a distillation, or leave the teacher out.'
            )
        if isinstance(self.head, RoutedClsHead) and not self.freeze_encoder:
            raise ValueError(
                f'the head {head} trains its routers alone, but {name} would train the backbone; '
                'set freeze_encoder=True.'
            )
        if key_momentum is None:
            return
        if not (isinstance(key_momentum, float) and 0 < key_momentum < 1):
            raise ValueError(
                f'key_momentum of {name} is {key_momentum!r}, but it must be between 0 and 1, as '
                'MoCo means it; 0.999 is usual.'
            )
        for needless, reason in (
            (has_teacher, 'the keys are those of the teacher'),
            (self.freeze_encoder, 'the encoder is frozen'),
            (not takes_keys, f'the head {head} takes no keys'),
        ):
            if needless:
                raise ValueError(
                    f'key_momentum of {name} is {key_momentum!r}, but no momentum encoder is '
                    f'needed: {reason}; leave key_momentum out.'
                )


def _distils(head: nn.Module) -> bool:
    # LeViTClsHead has a bool of that name.
    return isinstance(getattr(head, 'distillation', None), nn.Module)
