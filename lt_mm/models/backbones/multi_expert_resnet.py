"""A residual network whose later stages are there once per expert."""

import math
from collections.abc import Mapping, Sequence
from inspect import signature

import torch
from mmengine.model import ModuleList
from mmpretrain.models.backbones import ResNet, ResNet_CIFAR, ResNetV1c, ResNetV1d, ResNeXt
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from lt_mm.models.backbones.expert_weights import is_shared
from lt_mm.models.shipped.resnet_cifar_6n2 import NUM_STAGES, ResNetCifar6n2
from lt_mm.models.shipped.scaled_resnets import (
    ScaledResNet,
    ScaledResNetCIFAR,
    ScaledResNetV1c,
    ScaledResNetV1d,
    ScaledResNeXt,
)
from lt_mm.registry import MODELS

_SCALED = {
    ResNet: ScaledResNet,
    ResNetV1c: ScaledResNetV1c,
    ResNetV1d: ScaledResNetV1d,
    ResNeXt: ScaledResNeXt,
    ResNet_CIFAR: ScaledResNetCIFAR,
}


@MODELS.register_module()
class MultiExpertResNet(BaseBackbone):
    """Several experts in one backbone: stem and early stages shared, later stages once per expert.

    Shared and own parts are networks of the wrapped class whose other parts are empty, so its
    arguments (``frozen_stages``, ``norm_eval``, ``with_cp``, ``init_cfg``, ...) do here what they
    do there. One expert of full width is the plain network;
    :func:`~lt_mm.models.backbones.expert_weights.plain_weights` and its inverse translate the names
    of the weights. Experts differ by their initialisation, unless ``init_cfg`` of the wrapped
    backbone loads a checkpoint of the plain network, which all full-width experts then start from.

    Args:
        backbone: config of mmpretrain's ResNet, one of its subclasses with stages ``layer1``,
            ``layer2``, ..., such as ResNeXt, or ``lt_mm.ResNetCifar6n2``.
        num_experts: E. Defaults to 3.
        shared_stages: -1 shares nothing, not even the stem; 0 the stem alone; k the stem and the
            first k stages. Defaults to 1, that of RIDE and SADE on CIFAR; theirs on ImageNet is 2.
        width_factor: by which the planes of the experts' own stages are multiplied, to the nearest
            whole number; a sequence has one factor for each of them. 0.75 is RIDE's, which makes
            32, 64 of the CIFAR networks 24, 48. A stem has the width that the wrapped class gives
            it: ``stem_channels``, or for ``lt_mm.ResNetCifar6n2`` that of the first stage.
        init_cfg: of the whole; None leaves initialisation to the wrapped networks.

    Attributes:
        feat_dim (int): C, channels of each expert's last stage.
        shared (nn.Module | None): the common part; None where nothing is shared.
        experts (ModuleList): the own part of each expert.

    Raises:
        ValueError: if the backbone is of another kind or cannot have such widths, if there is no
            expert, if no stage is left for the experts or one does not exist, or if ``out_indices``
            of the backbone has a shared stage.

    Source: Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts
    (RIDE), ICLR 2021; Zhang et al., Self-Supervised Aggregation of Diverse Experts (SADE), NeurIPS
    2022; with ``shared_stages=-1`` the full networks of Li et al., Nested Collaborative Learning
    (NCL), CVPR 2022.
    """

    def __init__(
        self,
        backbone: Mapping,
        num_experts: int = 3,
        shared_stages: int = 1,
        width_factor: float | Sequence[float] = 1.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        config = expert_backbone(backbone, shared_stages, width_factor)
        if num_experts < 1:
            raise ValueError(f'num_experts is {num_experts}: give at least 1.')
        self.num_experts = num_experts
        self.shared_stages = shared_stages
        self.shared: nn.Module | None = None
        if shared_stages >= 0:
            self.shared = _part(config, shared_stages, own=False)
        self.experts = ModuleList(
            _part(config, shared_stages, own=True) for _ in range(num_experts)
        )
        if min(self.experts[0].out_indices) < shared_stages:
            raise ValueError(
                f'out_indices of the backbone are {tuple(self.experts[0].out_indices)}, but stages '
                f'below {shared_stages} are shared and have no experts: ask for later ones.'
            )
        self.feat_dim: int = self.experts[0].feat_dim

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the features of all experts.

        Args:
            x: images (N, in_channels, H, W).

        Returns:
            For each stage of the backbone's ``out_indices``, by default the last alone, features of
            shape (N, E, C, H', W').
        """
        if self.shared is not None:
            x = self.shared(x)[-1]
        outputs = [expert(x) for expert in self.experts]
        return tuple(torch.stack(stage, dim=1) for stage in zip(*outputs, strict=True))

    def train(self, mode: bool = True) -> 'MultiExpertResNet':
        """Switch between training and evaluation as the wrapped networks do.

        Args:
            mode: whether to train.

        Returns:
            This module, unlike mmpretrain's backbones.
        """
        super().train(mode)
        return self


def expert_backbone(
    backbone: Mapping, shared_stages: int = 1, width_factor: float | Sequence[float] = 1.0
) -> dict:
    """Config of the plain network that one expert and what it shares make up.

    Args:
        backbone: see :class:`MultiExpertResNet`; left as it is.
        shared_stages: likewise.
        width_factor: likewise.

    Returns:
        ``backbone`` itself, with its class as ``type``, if no width changes. Else that of
        ``lt_mm.ResNetCifar6n2`` with other ``widths``, or of a network of
        :mod:`~lt_mm.models.shipped.scaled_resnets`.

    Raises:
        ValueError: see :class:`MultiExpertResNet`.
    """
    config = dict(backbone)
    kind = config.get('type')
    if isinstance(kind, str):
        kind = MMPRETRAIN_MODELS.get(kind)
    if not (isinstance(kind, type) and issubclass(kind, (ResNet, ResNetCifar6n2))):
        raise ValueError(
            f'backbone of MultiExpertResNet is a {config.get("type")!r}: give the config of a '
            "ResNet or ResNeXt of mmpretrain, or of 'lt_mm.ResNetCifar6n2'."
        )
    config['type'] = kind
    is_cifar = issubclass(kind, ResNetCifar6n2)
    stages = NUM_STAGES if is_cifar else config.get('num_stages', 4)
    if not -1 <= shared_stages < stages:
        raise ValueError(
            f'shared_stages is {shared_stages}, but it must be from -1, which shares nothing, to '
            f'{stages - 1}, which leaves each expert one of the {stages} stages of {kind.__name__}.'
        )
    factors = _factors(width_factor, shared_stages, stages)
    if set(factors) == {1}:
        return config
    if is_cifar:
        widths = config.get('widths', signature(ResNetCifar6n2).parameters['widths'].default)
        scaled = (max(round(w * f), 1) for w, f in zip(widths, factors, strict=True))
        return {**config, 'widths': tuple(scaled)}
    if kind not in _SCALED:
        known = ', '.join(plain.__name__ for plain in _SCALED)
        raise ValueError(
            f'width_factor is {width_factor}, but the stages of {kind.__name__} cannot be scaled: '
            f'use 1, or one of {known}.'
        )
    return {**config, 'type': _SCALED[kind], 'stage_factors': factors}


def _factors(
    width_factor: float | Sequence[float], shared_stages: int, stages: int
) -> tuple[float, ...]:
    """A factor for each stage, 1 for those that are shared."""
    shared = max(shared_stages, 0)
    own = stages - shared
    factors = (width_factor,) * own if isinstance(width_factor, (int, float)) else width_factor
    if len(factors) != own or not all(0 < factor < math.inf for factor in factors):
        raise ValueError(
            f'width_factor is {width_factor}, but it must be a positive number, or one for each of '
            f'the {own} stages that are not shared.'
        )
    return (1.0,) * shared + tuple(factors)


def _part(config: Mapping, shared_stages: int, own: bool) -> nn.Module:
    """The network of ``config`` whose shared stem and stages, or all others, pass their input on.

    The wrapped class's ``forward`` then runs one part of the network without knowing it.
    """
    arguments = dict(config)
    network = arguments.pop('type')(**arguments)
    for name, _ in list(network.named_children()):
        if is_shared(name, shared_stages) == own:
            setattr(network, name, nn.Identity())
    return network
