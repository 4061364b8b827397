"""Data sets and checkpoints that an analysis is given, and what is wrong with them."""

from collections.abc import Mapping

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import Tensor
from torch.utils.data import Dataset

from lt_mm.checkpoints import TRAINING_ONLY

# Parts of a model that predict.
_NEEDED = ('backbone.', 'neck.', 'decode_head.', 'head.')


def check_weights(model: torch.nn.Module, weights: Mapping[str, Tensor], checkpoint: str) -> None:
    """Refuse a checkpoint of another model, which mmengine would load in part and say little.

    Args:
        model: of the config.
        weights: names to tensors of the checkpoint.
        checkpoint: what errors call it.

    Raises:
        ValueError: if a weight that predictions need is missing, or of another shape.
    """
    # Buffers of class counts are empty until they are loaded.
    own = {name: value for name, value in model.state_dict().items() if value.numel()}
    for name, value in own.items():
        other = weights.get(name)
        if other is not None and other.shape != value.shape:
            raise ValueError(
                f'Checkpoint {checkpoint} has {name} of shape {tuple(other.shape)}, but the model '
                f'of the config {tuple(value.shape)}: give the config that it was trained with, '
                'such as one of its number of classes.'
            )
    missing = [
        name
        for name, _ in model.named_parameters()
        if name.startswith(_NEEDED) and not TRAINING_ONLY.match(name) and name not in weights
    ]
    if missing:
        raise ValueError(
            f'Checkpoint {checkpoint} lacks {len(missing)} weights of the model, such as '
            f'{missing[-1]}: give that of a trained model of this config, not of a backbone alone.'
        )


def validate_as_test(config: Config) -> None:
    """Let ``Runner.test`` run the validation set, without the metrics of the config.

    Args:
        config: changed in place.

    Raises:
        ValueError: if there is none, nor a test set in its place.
    """
    if config.get('val_dataloader') is not None:
        config.test_dataloader = config.val_dataloader
    if config.get('test_dataloader') is None:
        raise ValueError(
            f'{config.filename} has no val_dataloader and no test_dataloader: add one.'
        )
    config.test_evaluator = []
    config.resume = False


def build_dataset(loader: Mapping, split: str) -> Dataset:
    """The data set of a loader.

    Args:
        loader: a dataloader of a config.
        split: what errors call the set, such as 'validation'.

    Raises:
        ValueError: if it is empty.
    """
    try:
        dataset = DATASETS.build(loader['dataset'])
        is_empty = len(dataset) == 0
    except ValueError as error:
        # mmengine joins the samples to one array.
        if 'need at least one array' not in str(error):
            raise
        is_empty = True
    if is_empty:
        config = loader['dataset']
        raise ValueError(
            f'The {split} set is empty: no file of {config.get("type")} was found in data_root='
            f'{config.get("data_root")!r}, data_prefix={config.get("data_prefix")!r}, ann_file='
            f'{config.get("ann_file")!r}; check these and the suffixes of its files.'
        )
    return dataset
