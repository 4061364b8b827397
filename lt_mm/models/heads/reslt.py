"""Residual branches for medium and rare classes."""

from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from lt_mm.models.heads.classification import LongTailClsHead
from lt_mm.models.ranks import mean_over_ranks
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts, ClassGroups
from lt_mm.structures.class_groups import refuse_old_arguments

BRANCHES = ('head', 'body', 'tail')


@MODELS.register_module()
class ResLTClsHead(LongTailClsHead, LinearClsHead):
    """One classifier behind three branches: of all classes, of body and tail, of the tail.

    The branches' logits are summed. With branch b trained on the samples S_b of its classes alone,

    ``loss_branches = beta * sum over b, i in S_b of loss(z_b(x_i), y_i) / sum over b of |S_b|``

    ``loss_fused = (1 - beta) * mean over i of loss(z_head + z_body + z_tail, y_i)``

    with means over all ranks. A term whose factor is 0 is left out. Which class is in which branch
    follows from the class counts of ``lt_mm.ClassCountsHook``, and is kept in the checkpoint.

    Args:
        num_classes: C.
        in_channels: D, width of the features. They may be vectors or, without a neck, maps, whose
            mean over places the head takes itself.
        beta: share of the branches' own losses; 0.995 on CIFAR-100-LT at 100:1 and 0.99 on
            ImageNet-LT.
        branch: 'norm' has one batch normalisation a branch (CIFAR), 'conv' a 1 x 1 convolution to D
            channels, a batch normalisation and a ReLU (ImageNet-LT). Both act on the map before
            pooling where there is one, which ``neck=None`` leaves to the head: without the ReLU at
            every place, the three branches would be one linear map.
        groups: three :class:`~lt_mm.structures.ClassGroups`, or their arguments. Defaults to 35 %
            and 35 % of the classes by falling count, and the rest, as on CIFAR-100-LT; on
            ImageNet-LT it is ``dict(sizes=(175, 605, 220))``.
        kwargs: further ones of :class:`LongTailClsHead` that act on losses of the logits alone.
            ``cal_acc`` and ``post_compensation`` are those of the sum.

    Raises:
        ValueError: if ``beta`` is not in [0, 1], ``branch`` is unknown, the groups are not three
            that hold every class, or there is an alignment, a contrast or a distillation; in
            training, if no class of a group has a sample, or labels are soft.
        RuntimeError: in training, without class counts.

    Source: Cui et al., ResLT: Residual Learning for Long-Tailed Recognition, TPAMI 2022, and
    its public code, with the classes sorted by their counts in place of their index.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        beta: float = 0.995,
        branch: str = 'norm',
        groups: dict | ClassGroups | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_old_arguments(type(self).__name__, kwargs)
        super().__init__(num_classes, in_channels, **kwargs)
        for option in ('alignment', 'contrast', 'distillation'):
            if getattr(self, option) is not None:
                raise ValueError(
                    f'{option} of ResLTClsHead would not be used, since each image has features of '
                    'three branches; leave it out, or take lt_mm.LongTailClsHead.'
                )
        if not 0 <= beta <= 1:
            raise ValueError(
                f'beta of ResLTClsHead is {beta}, but it must be in [0, 1]; 0.99 is usual.'
            )
        if branch not in ('norm', 'conv'):
            raise ValueError(f"branch of ResLTClsHead is {branch!r}; use 'norm' or 'conv'.")
        self.beta = beta
        each = round(0.35 * num_classes)
        usual = ClassGroups.by_sizes((each, each, num_classes - 2 * each))
        self.groups = usual if groups is None else ClassGroups.of(groups)
        self._split(ClassCounts([1] * num_classes))
        self.branches = nn.ModuleList(
            nn.BatchNorm2d(in_channels)
            if branch == 'norm'
            else ConvModule(in_channels, in_channels, 1, norm_cfg=dict(type='BN'))
            for _ in BRANCHES
        )
        self.register_buffer('group_of_class', torch.full((num_classes,), -1))

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Put the classes into groups by these counts.

        Raises:
            ValueError: if they are of another number of classes, or no class of a group has a
                sample, so that a branch would learn nothing.
        """
        class_counts.validate(self.num_classes, type(self).__name__)
        groups = self._split(class_counts)
        for name, classes in groups.items():
            if not class_counts.counts[classes].any():
                raise ValueError(
                    f'none of the {len(classes)} classes in the {name} group of ResLTClsHead has a '
                    f'sample, so its branch would learn nothing; give other groups than '
                    f'{self.groups}.'
                )
        for index, classes in enumerate(groups.values()):
            self.group_of_class[classes.to(self.group_of_class.device)] = index

    def expert_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits of the branches for all classes, (3, N, C): head, body and tail."""
        features = feats[-1]
        if features.ndim == 2:
            features = features[:, :, None, None]
        return torch.stack([self.fc(branch(features).mean((2, 3))) for branch in self.branches])

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits (N, C), the sum of those of the branches; in eval mode compensated.

        Args:
            feats: features of each stage; the last, (N, D) or (N, D, H, W), is classified.
        """
        return self.finish(self.expert_logits(feats).sum(0), None)

    def loss(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """The losses of the branches and of their sum.

        Args:
            feats: features of each stage; the last is classified.
            data_samples: with hard labels.
            kwargs: further arguments of the loss.

        Raises:
            ValueError: if labels are soft, or one is not a class.
            RuntimeError: without class counts.
        """
        labels = self.targets(data_samples)
        if labels.ndim > 1:
            raise ValueError(
                'ResLTClsHead needs hard labels, which say what branches an image is for, and the '
                'data samples have soft ones; take Mixup, CutMix and the like out of train_cfg.'
            )
        if (self.group_of_class < 0).any():
            raise RuntimeError(
                'ResLTClsHead needs class counts and has none; add '
                "`custom_hooks = [dict(type='lt_mm.ClassCountsHook')]` to the config, or call "
                'set_class_counts.'
            )
        logits = self.expert_logits(feats)
        losses = {}
        if self.beta > 0:
            losses['loss_branches'] = self.beta * self._branch_loss(logits, labels, **kwargs)
        fused = self.classification_loss(logits.sum(0), labels, **kwargs)
        if self.beta < 1:
            losses['loss_fused'] = (1 - self.beta) * fused['loss_cls']
        return losses | {key: value for key, value in fused.items() if key != 'loss_cls'}

    def _branch_loss(self, logits: Tensor, labels: Tensor, **kwargs: Any) -> Tensor:
        group = self.group_of_class[labels]
        seen = torch.stack([group >= branch for branch in range(len(BRANCHES))]).to(logits)
        total = mean_over_ranks(seen.sum(), logits.device)
        return sum(
            self.loss_module(own, labels, weight=weight, avg_factor=total, **kwargs)
            for own, weight in zip(logits, seen, strict=True)
        )

    def _split(self, class_counts: ClassCounts) -> dict[str, Tensor]:
        groups = self.groups.split(class_counts)
        if len(groups) != len(BRANCHES) or sum(map(len, groups.values())) < self.num_classes:
            raise ValueError(
                f'groups of ResLTClsHead are {self.groups}; give three, for {", ".join(BRANCHES)}, '
                f'that hold all of the {self.num_classes} classes.'
            )
        return groups
