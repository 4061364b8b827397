"""Backbones that mmpretrain lacks."""

from .resnet_cifar_6n2 import ResNetCifar6n2

__all__ = ['ResNetCifar6n2']
