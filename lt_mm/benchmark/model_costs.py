"""Parameters and FLOPs of models, counted the same way for both tasks."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from lt_mm.engine.data_config import walk_datasets
from lt_mm.models.layers import NearestClassMeanLinear, PostCompensation
from lt_mm.structures import ClassCounts


@dataclass(frozen=True)
class ModelCosts:
    """What a model costs.

    Args:
        parameters: of the model as it is trained, without a teacher.
        inference_parameters: those that its logits depend on: no auxiliary head, no embedding that
            only a contrast loss uses.
        flops: of the logits of one image, a multiply-add being one.
        size: height and width of that image, in pixels.
    """

    parameters: int
    inference_parameters: int
    flops: int
    size: tuple[int, int]


def config_costs(config: Config, size: tuple[int, int] | None = None) -> ModelCosts:
    """Costs of the model of a config, with random weights; nothing is loaded or downloaded.

    Args:
        config: of mmsegmentation or mmpretrain; left as it is.
        size: height and width of an image. Defaults to :func:`input_size`.

    Raises:
        ValueError: if neither a size is given nor the config says one.
    """
    size = size or input_size(config)
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmengine'):
        # Without weights that the config would read or download: those come with init_weights.
        model = MODELS.build(deepcopy(config.model))
    return model_costs(model, size)


def model_costs(model: nn.Module, size: tuple[int, int]) -> ModelCosts:
    """Costs of a classifier or segmentor, whose ``forward`` gives logits of images.

    Convolutions, matrix products, norms, pooling and upsampling are counted, as mmengine's
    FlopAnalyzer does it; activations and sums are not.

    Args:
        model: of mmsegmentation or mmpretrain; it is put in eval mode, its batch norms are no
            longer synchronised, and its gradients are reset. Class counts and class means that its
            layers need and do not have are made up, so it is best thrown away.
        size: height and width of an image.
    """
    model = revert_sync_batchnorm(model)
    model.eval()
    _fill_in(model)
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    image = first.weight.new_zeros(1, first.in_channels, *size)
    with torch.no_grad():
        analyzer = FlopAnalyzer(model, image)
        analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        flops = analyzer.tracer_warnings('none').total()
    used = _used_parameters(model, image)
    total = sum(parameter.numel() for parameter in model.parameters())
    return ModelCosts(total, used, int(flops), (size[0], size[1]))


def input_size(config: Mapping) -> tuple[int, int]:
    """Height and width of the images that a config trains on, by its last crop or resize.

    Raises:
        ValueError: if the training pipeline of the config has none.
    """
    dataset = (config.get('train_dataloader') or {}).get('dataset')
    pipelines = (inner.get('pipeline') for _, inner in walk_datasets(dataset, ''))
    sizes = [size for pipeline in pipelines for size in _sizes(pipeline or ())]
    if not sizes:
        raise ValueError(
            'the training pipeline of the config has no crop_size and no scale, so the size of its '
            'images is not known: give one (--size of the tool).'
        )
    return sizes[-1]


def _sizes(pipeline: Sequence[Mapping]) -> Iterator[tuple[int, int]]:
    """What each transform makes of an image; of several views the first is the classifier's."""
    for transform in pipeline:
        nested = transform.get('transforms')
        if nested:
            yield from _sizes(nested[0] if isinstance(nested[0], Sequence) else nested)
        crop, scale = transform.get('crop_size'), transform.get('scale')
        if crop is not None:
            yield (crop, crop) if isinstance(crop, int) else tuple(crop)
        elif scale is not None:
            # Unlike crops, scales have the width first.
            yield (scale, scale) if isinstance(scale, int) else tuple(scale)[::-1]


def _used_parameters(model: nn.Module, image: torch.Tensor) -> int:
    """Number of parameters that get a gradient from the logits."""
    model.requires_grad_(True)
    model.zero_grad()
    with torch.enable_grad():
        logits = model(image)
        outputs = logits if isinstance(logits, (list, tuple)) else [logits]
        sum(output.sum() for output in outputs).backward()
    used = sum(p.numel() for p in model.parameters() if p.grad is not None)
    model.zero_grad()
    return used


def _fill_in(model: nn.Module) -> None:
    """Let layers predict that refuse to without what the training gives them."""
    for module in model.modules():
        if isinstance(module, PostCompensation):
            module.set_class_counts(ClassCounts([1] * module.class_counts.num_classes))
        elif isinstance(module, NearestClassMeanLinear):
            module.set_class_means(module.means, torch.ones_like(module.counts))
