"""Long-tailed classifiers, alignments and contrast losses on any classifying head of mmpretrain."""

from collections.abc import Mapping, Sequence
from inspect import signature
from itertools import pairwise
from typing import Any

import torch
from mmpretrain.evaluation.metrics import Accuracy
from mmpretrain.models.heads import (
    ClsHead,
    DeiTClsHead,
    EfficientFormerClsHead,
    LeViTClsHead,
    LinearClsHead,
)
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from lt_mm.compat import LOSSES_OF_CLS_HEAD
from lt_mm.functional import check_batch, checked_once, to_device
from lt_mm.models.heads.longtail import LongTailOptions
from lt_mm.models.losses import ContrastBatch
from lt_mm.models.ranks import mean_over_ranks
from lt_mm.registry import MODELS
from lt_mm.structures import sample_ids


@MODELS.register_module()
class LongTailClsHead(LongTailOptions):
    """Any head of mmpretrain that ends in one linear classifier, with the options for long tails.

    ``head=dict(type='lt_mm.LongTailClsHead', num_classes=..., in_channels=...)`` in place of a
    LinearClsHead, and with ``base='VisionTransformerClsHead'`` in place of that.

    The loss is the mean over the images of all ranks, under the key ``loss_cls``; mmpretrain's own
    key, ``loss``, is that of the sum in the log. In
    :class:`~lt_mm.models.networks.LongTailClassifier` the contrast loss compares several views, and
    a teacher may give keys and logits; in mmpretrain's own ImageClassifier there is one view, and
    the keys are the features themselves, detached. Inference is that of the classifier alone.

    A base that can have a second classifier for the labels of a teacher, as EfficientFormerClsHead
    and LeViTClsHead can, has none here: mmpretrain cannot train it.

    Args:
        args: those of the base, such as ``num_classes`` and ``in_channels``.
        base: name or class of a head that computes its loss as mmpretrain's ClsHead does.
        loss: classification loss of mmpretrain's kind. Defaults to cross-entropy or, where
            ``alpha`` is given, to a ``LogitAdjustedLoss``.
        alpha: see :class:`~lt_mm.models.heads.longtail.LongTailOptions`.
        distillation: see there; False is None. Not on a LeViTClsHead.
        kwargs: see there, and those of the base.

    Raises:
        ValueError: also if the base has no single linear layer of one output a class, or a loss of
            its own; when called with labels that are no classes.
        RuntimeError: when called, if the base uses that layer more than once.

    Source: Suh and Seo, ICML 2023, section 4.2 and Table A.1, for the contrast.
    """

    registry = MMPRETRAIN_MODELS
    default_temperature = 1 / 30
    example_base = 'LinearClsHead'
    base_class = LinearClsHead

    def __init__(
        self,
        *args: Any,
        loss: dict | nn.Module | None = None,
        alpha: float | None = None,
        distillation: dict | bool | None = None,
        **kwargs: Any,
    ) -> None:
        if distillation is True:
            raise ValueError(
                f'distillation of {type(self).__name__} is True, as for a second classifier, which '
                "mmpretrain cannot train; give dict(type='lt_mm.KDLoss') to learn from a teacher, "
                'or leave it out.'
            )
        if distillation and issubclass(self.base_class, LeViTClsHead):
            raise ValueError(
                f'distillation of {type(self).__name__} cannot be set, because LeViTClsHead goes '
                "by an attribute of that name; leave it out, or choose base='LinearClsHead'."
            )
        if loss is None:
            loss = dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0 if alpha is None else None)
        # Configs of mmpretrain say False of a second classifier.
        distillation = None if distillation is False else distillation
        super().__init__(*args, loss=loss, alpha=alpha, distillation=distillation, **kwargs)
        # What the classifier is given, while that is of interest.
        self._seen: list[tuple[Tensor, Tensor]] | None = None
        self._classifier().register_forward_pre_hook(self._see)

    @classmethod
    def on(cls, base: str | type | None) -> type:
        """The class of the heads with these options on a base; None is a LinearClsHead."""
        return super().on(cls.base_class if base is None else base)

    @classmethod
    def check_base(cls, base: type) -> None:
        """Refuse a head whose loss or predictions are not those of one classifier.

        Raises:
            ValueError: saying why, and what to use.
        """
        told = f'base of {cls.__name__} is {base.__name__}, which'
        if not issubclass(base, ClsHead):
            raise ValueError(
                f'{told} is no ClsHead of mmpretrain and has no softmax over classes of which an '
                'image has one; choose a head such as LinearClsHead, or give this one a loss of '
                'lt_mm alone.'
            )
        if issubclass(base, DeiTClsHead):
            raise ValueError(
                f'{told} has a second classifier that mmpretrain cannot train; use '
                "base='VisionTransformerClsHead', and distillation=dict(type='lt_mm.KDLoss') to "
                'learn from a teacher.'
            )
        for method in LOSSES_OF_CLS_HEAD:
            owner = next(one for one in base.__mro__ if method in vars(one))
            # That of EfficientFormerClsHead only refuses its second classifier.
            if owner not in (ClsHead, EfficientFormerClsHead):
                raise ValueError(
                    f'{told} has a {method} of its own, which would not be used; choose a head '
                    "such as LinearClsHead, with classifier='cosine' for cosines, and a loss of "
                    'lt_mm.'
                )

    @classmethod
    def base_arguments(cls) -> dict[str, Any]:
        """Without the second classifier of a base that can have one."""
        taken = signature(cls.base_class.__init__).parameters
        return dict(distillation=False) if 'distillation' in taken else {}

    def find_classifier(self) -> str:
        """Where the one linear layer is that gives the logits.

        Raises:
            ValueError: if there is none, or more than one.
        """
        shapes = {
            path: part.weight.shape
            for path, part in self.named_modules()
            if getattr(part, 'weight', None) is not None
            and part.weight.ndim == 2
            and not path.startswith('loss_module')
        }
        if not hasattr(self, 'num_classes') and shapes:
            # VigClsHead does not tell.
            self.num_classes = [*shapes.values()][-1][0]
        found = [path for path in shapes if shapes[path][0] == getattr(self, 'num_classes', None)]
        # Hidden layers may happen to be as wide as there are classes; the next layer sees them.
        is_chain = all(after[1] == before[0] for before, after in pairwise(shapes.values()))
        if not found or (len(found) > 1 and not (is_chain and found[-1] == [*shapes][-1])):
            raise ValueError(
                f'{type(self).__name__} needs one linear layer with an output for each class, and '
                f'its base has {" and ".join(found) or "none"}; choose a head with one classifier, '
                'such as LinearClsHead.'
            )
        return found[-1]

    @property
    def num_query_views(self) -> int:
        """Of how many views the contrast loss wants the student's features."""
        return 0 if self.contrast is None else self.contrast.num_query_views

    def forward(self, feats: tuple[Any, ...]) -> Tensor:
        """Logits, (N, C); compensated in eval mode, where that is asked for."""
        logits, features, _ = self._classified(feats)
        return self.finish(logits, features)

    def classifier_input(self, feats: tuple[Any, ...]) -> Tensor:
        """(N, D), what the classifier is given for the features of each stage."""
        return self._classified(feats)[1]

    def loss(
        self,
        feats: tuple[Tensor, ...],
        data_samples: list[DataSample],
        queries: Sequence[Tensor | None] | None = None,
        keys: Tensor | None = None,
        teacher_logits: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """All losses of a batch.

        Args:
            feats: features of each stage for the view to classify.
            data_samples: of the images, with hard labels or, after Mixup and the like, soft ones. A
                contrast loss needs hard labels.
            queries: (B, D) of each view to contrast, what :meth:`classifier_input` gives for it;
                None for the view to classify. Defaults to that one alone.
            keys: (B, key_channels). Default to those of the view to classify, detached.
            teacher_logits: (B, C), for the distillation.
            kwargs: further arguments of the classification loss.

        Returns:
            ``loss_cls``; accuracies where ``cal_acc`` asks for them; what the contrast loss
            returns; ``loss_kd`` with a distillation.

        Raises:
            ValueError: if a label is not a class, labels are soft, or the distillation has no
                logits of a teacher, or of other classes.
            FloatingPointError: if queries or keys are not finite.
        """
        logits, features, view = self._classified(feats)
        logits = self.finish(logits, features)
        finite = {}
        if self.contrast is not None:
            if queries is None:
                views = features[None]
            else:
                views = torch.cat([view if rows is None else rows[None] for rows in queries])
            keys = (features if keys is None else keys).detach()
            finite = {'its features': views, 'its keys': keys}
        with checked_once():
            # The one look of a step at labels and features.
            targets = self.targets(data_samples, finite)
            losses = self.classification_loss(logits, targets, **kwargs)
            if self.contrast is not None:
                losses |= self._contrast_losses(views, keys, targets, data_samples)
        if self.distillation is not None:
            losses['loss_kd'] = self.distillation_loss(logits, teacher_logits)
        return losses

    def targets(
        self, data_samples: list[DataSample], finite: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """(N,) labels, or (N, C) soft ones where the samples have scores.

        Args:
            data_samples: of the N images.
            finite: what has to be finite beside hard labels, by its name in the error.

        Raises:
            ValueError: if a label is not a class.
            FloatingPointError: if something is not finite.
        """
        if 'gt_score' in data_samples[0]:
            return torch.stack([sample.gt_score for sample in data_samples])
        labels = torch.cat([sample.gt_label for sample in data_samples])
        check_batch(type(self).__name__, labels, self.num_classes, None, finite)
        return labels

    def classification_loss(
        self, logits: Tensor, targets: Tensor, **kwargs: Any
    ) -> dict[str, Tensor]:
        """L_cls of (N, C) logits, and the accuracy where ``cal_acc`` asks for it."""
        # mmpretrain divides by the number of this rank.
        images = mean_over_ranks(len(logits), logits.device)
        losses = dict(loss_cls=self.loss_module(logits, targets, avg_factor=images, **kwargs))
        if self.cal_acc:
            losses |= training_accuracies(logits, targets, self.topk, type(self).__name__)
        return losses

    def _classified(self, feats: tuple[Any, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the base, the (N, D) features classified, and these as a view, (1, N, D)."""
        self._seen = []
        try:
            logits = super().forward(feats)
            seen = self._seen
        finally:
            self._seen = None
        if len(seen) != 1:
            raise RuntimeError(
                f'{type(self).__name__} uses its classifier {self.classifier_path} {len(seen)} '
                'times for one batch, so it is unknown what it classifies; choose another base.'
            )
        return logits, *seen[0]

    def _see(self, module: nn.Module, inputs: tuple) -> None:
        if self._seen is not None:
            # The view is made before the classifier uses the features, so that autograd sums the
            # gradients of both in one order, however many views there are.
            self._seen.append((inputs[0], inputs[0][None]))

    def _contrast_losses(
        self, queries: Tensor, keys: Tensor, labels: Tensor, data_samples: list[DataSample]
    ) -> dict[str, Tensor]:
        owner = type(self).__name__
        if labels.ndim > 1:
            raise ValueError(
                f'the contrast loss of {owner} needs hard labels, and the data samples have soft '
                'ones; take Mixup, CutMix and the like out of train_cfg, and to_onehot out of the '
                'data_preprocessor.'
            )
        places = [sample.get('sample_idx', -1) for sample in data_samples]
        return self.contrast.contrast(
            ContrastBatch(
                queries=queries,
                keys=keys,
                labels=labels.long(),
                ids=to_device(sample_ids(data_samples), labels.device),
                indices=to_device(torch.tensor(places, dtype=torch.int64), labels.device),
                classifier=self._classifier(),
            )
        )

    def _classification_losses(self) -> list[nn.Module]:
        return [self.loss_module]


def training_accuracies(
    logits: Tensor, targets: Tensor, topk: int | Sequence[int], owner: str
) -> dict[str, Tensor]:
    """Percentages of images whose label is among the k largest logits, as 'accuracy_top-k'.

    Args:
        logits: (N, C).
        targets: (N,) labels.
        topk: k, or several.
        owner: what the error calls the head.

    Raises:
        ValueError: if the targets are soft.
    """
    if targets.ndim > 1:
        raise ValueError(
            f'cal_acc of {owner} has no meaning for soft labels, such as Mixup makes; set '
            'cal_acc=False.'
        )
    topk = (topk,) if isinstance(topk, int) else topk
    # Without a threshold: logits, unlike scores, may be negative and right.
    accuracies = Accuracy.calculate(logits, targets, topk=topk, thrs=(None,))
    return {f'accuracy_top-{k}': value[0] for k, value in zip(topk, accuracies, strict=True)}
