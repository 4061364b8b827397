"""Contrastive representation distillation with its two banks and its two embeddings."""

import math
from typing import Any

import torch
from mmengine.dist import broadcast, get_world_size
from torch import Tensor

from lt_mm.functional import (
    check_finite,
    check_labels,
    check_number,
    check_temperature,
    log_partition,
    noise_contrastive_loss,
    rank_within_group,
    reduce_loss,
    sample_other_groups,
)
from lt_mm.models.layers import EmbeddingBank, ProjectionMLP
from lt_mm.models.losses.contrast_loss import ContrastBatch, ContrastLoss
from lt_mm.models.ranks import gather_rows, mean_over_ranks
from lt_mm.registry import MODELS


@MODELS.register_module()
class CRDLoss(ContrastLoss):
    """CRD: the student's embedding of an image must match the teacher's of the same image.

    Two terms: the student's embedding against a bank of the teacher's, and the teacher's against
    a bank of the student's. The positive of an image is its own row, the negatives are rows of
    images of other classes. Classes are learnt as images are seen. Rows of images not seen yet
    are random vectors; they may be drawn as negatives of any class, since they embed no image.

    As the authors' code does by default, except that the first embedding of an image replaces
    its random row before the row is used as a positive, that negatives are always drawn with
    replacement (the expected loss is the same), and that Z, if it is estimated, is estimated once
    over the first batch of all ranks and kept in the checkpoint.

    Of an image that is twice in the batch of all ranks, the last embedding enters the banks.
    The banks are the same on all ranks as long as they started so, which
    DistributedDataParallel sees to; negatives follow the random state of rank 0.
    In the checkpoint they take ``num_samples * (8 * dim + 10)`` bytes: 52 MB for the 50,000 images
    of CIFAR, 120 MB for ImageNet-LT.

    Args:
        num_classes: C.
        in_channels: width of the student's features.
        num_samples: M, images of the training set.
        key_channels: width of the teacher's features; None is ``in_channels``.
        dim: width of the embeddings.
        num_negatives: N, drawn for each image; below ``num_samples``.
        temperature: tau.
        bank_momentum: share of the old row when a row is updated.
        loss_weight: factor of the result.
        normalizer: Z, which divides exp(similarity / tau). None estimates it for each term as
            the authors' code does; 1 is the equation of the paper.

    Raises:
        ValueError: if ``num_negatives`` is not below ``num_samples``, or a number is out of its
            range.

    Source: Tian, Krishnan and Isola, ICLR 2020; the numbers are those of the authors' code.
    """

    for_pixels = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_samples: int,
        key_channels: int | None = None,
        dim: int = 128,
        num_negatives: int = 16384,
        temperature: float = 0.07,
        bank_momentum: float = 0.5,
        loss_weight: float = 0.8,
        normalizer: float | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= num_negatives < num_samples:
            raise ValueError(
                f'num_negatives of CRDLoss is {num_negatives}, but each of {num_samples} images '
                f'can be told from 1 to {num_samples - 1} others; lower num_negatives, or correct '
                'num_samples.'
            )
        check_temperature(temperature, 'of CRDLoss', '0.07 is usual')
        if normalizer is not None and not 0 < normalizer < math.inf:
            raise ValueError(
                f'normalizer of CRDLoss is {normalizer}, but it must be positive and finite; None '
                'estimates it.'
            )
        self.num_classes = num_classes
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.loss_weight = check_number('loss_weight', loss_weight, 'CRDLoss', '1 is usual')
        self.student_embedding = ProjectionMLP(in_channels, (dim,))
        self.key_channels = key_channels = in_channels if key_channels is None else key_channels
        self.teacher_embedding = ProjectionMLP(key_channels, (dim,))
        self.student_bank = EmbeddingBank(num_samples, dim, bank_momentum)
        self.teacher_bank = EmbeddingBank(num_samples, dim, bank_momentum)
        self.register_buffer('labels', torch.full((num_samples,), -1, dtype=torch.int64))
        self.register_buffer('log_normalizers', torch.full((2,), float(normalizer or 1)).log())
        self.register_buffer('is_normalized', torch.tensor(normalizer is not None))

    def contrast(self, batch: ContrastBatch) -> dict[str, Tensor]:
        """The loss of the student's first view against the teacher's features."""
        return self(batch.queries[0], batch.keys, batch.labels, batch.indices)

    def forward(
        self, student: Tensor, teacher: Tensor, labels: Tensor, indices: Tensor
    ) -> dict[str, Tensor]:
        """Mean loss of the images of all ranks, after which the banks are updated.

        Every rank must call it, also with no image.

        Args:
            student: (B, in_channels) features.
            teacher: (B, key_channels) features of the same images.
            labels: (B,) class indices.
            indices: (B,) places of the images in the data set.

        Returns:
            ``loss_crd``.

        Raises:
            ValueError: for a label or a place that cannot be, for a place where an image of
                another class was before, and if all images are of one class.
        """
        labels, indices = labels.to(self.labels), indices.to(self.labels)
        self._check(labels, indices)
        live = self.student_embedding(student), self.teacher_embedding(teacher.detach())
        for part, name in zip(live, ('student', 'teacher'), strict=True):
            check_finite(part, 'CRDLoss', f"the {name}'s embeddings")
        students = gather_rows(live[0].detach(), indices)
        teachers = gather_rows(live[1].detach(), labels)
        last = rank_within_group(students.labels.flip(0)).flip(0) == 0
        written, embeddings = students.labels[last], (students.rows[last], teachers.rows[last])
        self.labels[written] = teachers.labels[last]
        banks = self.student_bank, self.teacher_bank
        for bank, part in zip(banks, embeddings, strict=True):
            bank.introduce(written, part)

        negatives = self._draw_negatives(labels, students.own)
        pairs = torch.cat([indices[:, None], negatives], dim=1)
        similarities = [
            bank.similarities(part, pairs) for bank, part in zip(banks[::-1], live, strict=True)
        ]
        self._normalize(similarities, labels)
        loss = sum(
            noise_contrastive_loss(part, len(self.labels), self.temperature, log_normalizer)
            for part, log_normalizer in zip(similarities, self.log_normalizers, strict=True)
        )
        for bank, part in zip(banks, embeddings, strict=True):
            bank.update(written, part)
        count = mean_over_ranks(len(labels), loss.device)
        return dict(loss_crd=self.loss_weight * reduce_loss(loss, avg_factor=count))

    def _check(self, labels: Tensor, indices: Tensor) -> None:
        check_labels(labels, self.num_classes, 'CRDLoss', ignore_index=None)
        if (indices < 0).any():
            raise ValueError(
                "CRDLoss needs each image's place in its data set, and an image has none (-1); "
                "keep 'sample_idx' in meta_keys of the packing transform."
            )
        if (indices >= len(self.labels)).any():
            raise ValueError(
                f'image {int(indices.max())} reached CRDLoss, which has num_samples='
                f'{len(self.labels)}; set num_samples to the number of training images.'
            )
        known = self.labels[indices]
        changed = (known >= 0) & (known != labels)
        if changed.any():
            first = int(changed.nonzero()[0])
            raise ValueError(
                f'image {int(indices[first])} reached CRDLoss with class {int(labels[first])}, '
                f'before it was of class {int(known[first])}; give every image one place: no '
                'ConcatDataset, which numbers each of its parts from 0, and no other data set on '
                'resuming.'
            )

    def _draw_negatives(self, labels: Tensor, places: Tensor) -> Tensor:
        """(B, N) places of images of other classes, for a row of the joint batch on any rank."""
        seed = torch.randint(2**62, (1,))
        if get_world_size() > 1:
            broadcast(seed)
        seeds = (places.cpu() + seed).tolist()
        try:
            return sample_other_groups(self.labels, labels, self.num_negatives, seeds)
        except ValueError as error:
            raise ValueError(
                f'all {len(self.labels)} images that CRDLoss knows are of one class, but negatives '
                'come from other classes; train on two classes or more.'
            ) from error

    def _normalize(self, similarities: list[Tensor], labels: Tensor) -> None:
        """Estimate Z of both terms over the first batch of all ranks."""
        if self.is_normalized:
            return
        everyone = [gather_rows(part.detach(), labels).rows for part in similarities]
        if everyone[0].numel() == 0:
            return
        estimates = [log_partition(part, len(self.labels), self.temperature) for part in everyone]
        self.log_normalizers.copy_(torch.stack(estimates))
        self.is_normalized.fill_(True)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # A loader that is not strict leaves out rows of another shape; it must not take what
        # goes with them then.
        for name in ('student_bank.rows', 'teacher_bank.rows'):
            rows = state_dict.get(f'{prefix}{name}')
            if rows is not None and rows.shape != self.get_buffer(name).shape:
                for bank in ('student_bank', 'teacher_bank'):
                    state_dict.pop(f'{prefix}{bank}.is_written', None)
                for own in ('labels', 'log_normalizers', 'is_normalized'):
                    state_dict.pop(f'{prefix}{own}', None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return (
            f'num_negatives={self.num_negatives}, temperature={self.temperature}, '
            f'loss_weight={self.loss_weight}'
        )
