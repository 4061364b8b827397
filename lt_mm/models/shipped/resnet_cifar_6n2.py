"""The CIFAR ResNets of He et al.: 6n+2 layers in three stages of narrow basic blocks."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import build_conv_layer, build_norm_layer, is_norm
from mmengine.model import Sequential
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.models.backbones.resnet import BasicBlock
from mmpretrain.registry import MODELS
from torch import Tensor, nn

NUM_STAGES = 3


class ZeroPaddingShortcut(nn.Module):
    """Option A of He et al.: every second pixel, and channels of zeros around those of the input.

    Of an odd number of new channels the larger half comes last.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, at least as many.
        stride: distance of the pixels kept, in both directions.

    Raises:
        ValueError: if there are fewer channels to give than came in.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        extra = out_channels - in_channels
        if extra < 0:
            raise ValueError(
                f"shortcut 'A' cannot take {in_channels} channels to {out_channels}: give widths "
                "that do not fall, or shortcut='B'"
            )
        self.padding = (extra // 2, extra - extra // 2)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Subsample and pad.

        Args:
            x: features (N, in_channels, H, W).

        Returns:
            (N, out_channels, ceil(H / stride), ceil(W / stride)).
        """
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.padding))


@MODELS.register_module(force=True)
class ResNetCifar6n2(BaseBackbone):
    """ResNet-20, 32, 44, 56 and 110 for images of 32 x 32 pixels.

    A 3x3 stem of stride 1, then three stages of n basic blocks, 6n+2 layers with the classifier.
    Stages 2 and 3 halve the resolution in their first block. mmpretrain's ``ResNet_CIFAR`` is
    another net: four stages of 64 to 512 channels and more, from 11 million parameters up.

    Source: He et al., Deep Residual Learning for Image Recognition (CVPR 2016), section 4.2. The
    defaults are those of the ResNet-32 that long-tailed CIFAR results stand on, the public code of
    LDAM-DRW (Cao et al., NeurIPS 2019): option A with the zeros half before and half after the
    channels, Kaiming normal initialisation over the fan in, the last norm of a block not zeroed.
    Weights have the names they have there, but for the classifier.

    Args:
        depth: number of layers, 6n+2: 8, 14, 20, 26, 32 and so on.
        in_channels: channels of the image. Defaults to 3.
        widths: channels of the three stages; the stem has those of the first.
            Defaults to (16, 32, 64).
        shortcut: how a shortcut gets the shape of the stage it enters: 'A' takes every
            second pixel and pads the channels with zeros, 'B' is a 1x1 convolution and a norm.
            Defaults to 'A'.
        out_indices: stages to return, out of 0, 1 and 2. Defaults to (2,).
        frozen_stages: -1 trains everything, 0 freezes the stem, k the stem and the first k
            stages: no gradients, norms in eval mode. Defaults to -1.
        conv_cfg: convolutions. Defaults to None, ``nn.Conv2d``.
        norm_cfg: norms. Defaults to None, ``dict(type='BN')``.
        norm_eval: whether norms stay in eval mode in training, keeping their running
            statistics. Defaults to False.
        with_cp: whether to recompute blocks in the backward pass to save memory. Defaults
            to False.
        init_cfg: initialisation. Defaults to None, Kaiming normal
            over the fan in, norms 1.

    Raises:
        ValueError: if the depth is not 6n+2, the widths are not three positive numbers (rising or
            equal with option A), the shortcut is unknown, or a stage does not exist.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        shortcut: str = 'A',
        out_indices: Sequence[int] = (2,),
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        _check(depth, widths, shortcut, out_indices, frozen_stages)
        if init_cfg is None:
            init_cfg = [
                dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
                dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
            ]
        super().__init__(init_cfg)
        self.shortcut = shortcut
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.feat_dim = widths[-1]
        self._layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg or dict(type='BN'))

        self.conv1 = build_conv_layer(conv_cfg, in_channels, widths[0], 3, padding=1, bias=False)
        self.norm1_name, norm = build_norm_layer(self._layers['norm_cfg'], widths[0], postfix=1)
        self.add_module(self.norm1_name, norm)
        self.relu = nn.ReLU(inplace=True)
        for stage, width in enumerate(widths):
            before = widths[max(stage - 1, 0)]
            first = self._block(before, width, 1 if stage == 0 else 2, with_cp)
            others = (self._block(width, width, 1, with_cp) for _ in range((depth - 2) // 6 - 1))
            self.add_module(f'layer{stage + 1}', Sequential(first, *others))
        self._freeze()

    def _block(self, in_channels: int, out_channels: int, stride: int, with_cp: bool) -> BasicBlock:
        downsample = None
        if stride != 1 and self.shortcut == 'A':
            downsample = ZeroPaddingShortcut(in_channels, out_channels, stride)
        elif stride != 1:
            conv_cfg, norm_cfg = self._layers['conv_cfg'], self._layers['norm_cfg']
            downsample = Sequential(
                build_conv_layer(conv_cfg, in_channels, out_channels, 1, stride=stride, bias=False),
                build_norm_layer(norm_cfg, out_channels)[1],
            )
        return BasicBlock(
            in_channels,
            out_channels,
            stride=stride,
            downsample=downsample,
            with_cp=with_cp,
            **self._layers,
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the features of the stages asked for.

        Args:
            x: images (N, in_channels, H, W).

        Returns:
            For stage i of ``out_indices``, in the order of the stages, features of
            shape (N, widths[i], ceil(H / 2**i), ceil(W / 2**i)).
        """
        x = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        outs = []
        for stage in range(NUM_STAGES):
            x = getattr(self, f'layer{stage + 1}')(x)
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'ResNetCifar6n2':
        """Switch between training and evaluation; what is frozen stays in evaluation.

        Args:
            mode: whether to train. Defaults to True.

        Returns:
            This module.
        """
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if is_norm(module):
                    module.eval()
        return self

    def _freeze(self) -> None:
        frozen = []
        if self.frozen_stages >= 0:
            frozen = [self.conv1, getattr(self, self.norm1_name)]
        frozen += [getattr(self, f'layer{stage + 1}') for stage in range(self.frozen_stages)]
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


def _check(
    depth: int, widths: Sequence[int], shortcut: str, out_indices: Sequence[int], frozen: int
) -> None:
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(
            f'depth is {depth}, but these nets have 6n+2 layers: give 20, 32, 44, 56 or 110'
        )
    if len(widths) != NUM_STAGES or min(widths) < 1:
        raise ValueError(f'widths are {tuple(widths)}: give three positive numbers of channels')
    if shortcut not in ('A', 'B'):
        raise ValueError(f"shortcut is {shortcut!r}: give 'A' or 'B'")
    if not out_indices or not set(out_indices) <= set(range(NUM_STAGES)):
        raise ValueError(f'out_indices are {tuple(out_indices)}: give some of 0, 1 and 2')
    if not -1 <= frozen <= NUM_STAGES:
        raise ValueError(f'frozen_stages is {frozen}: give -1, 0, 1, 2 or 3')
