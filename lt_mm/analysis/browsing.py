"""What sampler and pipeline of a config yield."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner, set_random_seed
from torch import Tensor
from torch.utils.data import DataLoader

from lt_mm.analysis.inputs import build_dataset
from lt_mm.compat import swaps_channels
from lt_mm.datasets.class_counting import count_samples
from lt_mm.datasets.label_reading import locate
from lt_mm.datasets.samplers import LongTailSampler
from lt_mm.engine.train_sampler import sampler_of

MOST_SAMPLES = 1000


@dataclass
class Browsed:
    """What was yielded.

    Attributes:
        number: of samples.
        unit: 'pixels' or 'images'.
        names: of the C classes.
        palette: (C, 3) uint8; None where classes have no colours.
        shares: (C,) shares that sum to 1: 'data set', 'prior' where the sampler changes it, and
            'yielded'.
        shown: of the first samples: image (H, W, 3) uint8, its map (H, W) or None, its classes.
    """

    number: int
    unit: str
    names: Sequence[str]
    palette: np.ndarray | None
    shares: dict[str, np.ndarray]
    shown: list[tuple[np.ndarray, np.ndarray | None, str]] = field(default_factory=list)


def browse(
    config: Config, phase: str, number: int | None = None, show: int = 24, seed: int = 0
) -> Browsed:
    """Draw samples as the data loader of a config does, in this process.

    Args:
        config: of mmseg or mmpretrain, as :func:`~lt_mm.engine.launch.load_config` read it.
        phase: 'train', 'val' or 'test'.
        number: of samples that are counted. Defaults to None, one pass but at most
            ``MOST_SAMPLES``.
        show: of these, how many to keep as images.
        seed: of the sampler and of the augmentations.

    Raises:
        ValueError: if the config has no such data, or they are empty or hold no label.
    """
    loader_config = config.get(f'{phase}_dataloader')
    if loader_config is None:
        raise ValueError(f'it has no {phase}_dataloader; choose another --phase.')
    dataset = build_dataset(loader_config, phase)
    workers = loader_config.get('num_workers', 0)
    counted = count_samples(dataset, Path(config.work_dir).parent / 'class_counts', workers)
    counts = counted.class_counts()
    # The loader's own workers would need a moment to start, and have other random numbers.
    loader = Runner.build_dataloader(
        {**loader_config, 'dataset': dataset, 'num_workers': 0, 'persistent_workers': False},
        seed=seed,
    )
    shares = {'data set': counts.counts.double().numpy() / counts.counts.sum().item()}
    sampler = sampler_of(loader)
    prior = getattr(sampler, 'class_distribution', None)
    if isinstance(sampler, LongTailSampler) and prior is not None:
        prior = sampler.class_distribution_at(0, counts.unit)
    if prior is not None:
        shares['prior'] = np.asarray(prior, np.float64)
    if number is None:
        number = min(MOST_SAMPLES, len(dataset))
    set_random_seed(seed)
    swap = _swaps_channels(config)
    ignore_index = getattr(locate(dataset, 0)[0], 'ignore_index', 255)
    names = counts.class_names or tuple(map(str, range(counts.num_classes)))
    yielded, shown, drawn = np.zeros(counts.num_classes), [], 0
    for index in islice(_indices(loader), number):
        sample = dataset[index]
        labels, soft = _labels(sample['data_samples'], counts.num_classes, ignore_index)
        yielded += soft
        drawn += 1
        if len(shown) < show:
            present = [names[c] for c in np.argsort(-soft, kind='stable') if soft[c]]
            shown.append((_image(sample['inputs'], swap), labels, ', '.join(present)))
    if not yielded.sum():
        raise ValueError(
            f'none of the {drawn} samples has a labelled {counts.unit[:-1]}: check the label maps, '
            'reduce_zero_label and the crops of its pipeline.'
        )
    shares['yielded'] = yielded / yielded.sum()
    palette = (getattr(dataset, 'metainfo', None) or {}).get('palette')
    if palette is not None and len(palette) != len(names):
        palette = None
    palette = None if palette is None else np.asarray(palette, np.uint8)
    return Browsed(drawn, counts.unit, names, palette, shares, shown)


def _indices(loader: DataLoader) -> Iterator[int]:
    """Indices as the loader draws them; another pass when one is over."""
    epoch = 0
    while True:
        for part in (loader.sampler, sampler_of(loader)):
            if hasattr(part, 'set_epoch'):
                part.set_epoch(epoch)
        for batch in loader.batch_sampler:
            yield from batch
        epoch += 1


def _swaps_channels(config: Config) -> bool:
    """Whether the images of the pipeline are BGR, which the data preprocessor says."""
    given = config.model.get('data_preprocessor') or config.get('data_preprocessor')
    if not isinstance(given, Mapping):
        return False
    default = 'ClsDataPreprocessor' if config.default_scope == 'mmpretrain' else None
    kind = {'type': default} if default and 'type' not in given else {}
    return bool(swaps_channels(MODELS.build({**kind, **given})))


def _image(inputs: Tensor | Sequence[Tensor], swap: bool) -> np.ndarray:
    """(H, W, 3) uint8; views of one image beside each other."""
    if not isinstance(inputs, Tensor):
        return np.concatenate([_image(view, swap) for view in inputs], axis=1)
    pixels = inputs.permute(1, 2, 0).float()
    if not inputs.dtype.is_floating_point or pixels.max() > 2:
        pixels = pixels.clamp(0, 255)
    else:
        # Normalised in the pipeline.
        pixels = 255 * (pixels - pixels.min()) / (pixels.max() - pixels.min()).clamp_min(1e-6)
    image = pixels.byte().expand(*pixels.shape[:2], 3).numpy()
    return image[..., ::-1] if swap else image


def _labels(
    sample: Any, num_classes: int, ignore_index: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """The map (H, W) of a sample, or None, and (C,) how much of each class it shows."""
    if 'gt_sem_seg' in sample:
        labels = sample.gt_sem_seg.data.squeeze(0).numpy().astype(np.int64)
        known = labels[labels != ignore_index]
        if known.size and not 0 <= known.min() <= known.max() < num_classes:
            wrong = known[(known < 0) | (known >= num_classes)][0]
            raise ValueError(
                f'{sample.metainfo.get("img_path")} has label {wrong}, which is none of the '
                f'{num_classes} classes: check reduce_zero_label and ignore_index.'
            )
        return np.where(labels == ignore_index, -1, labels), np.bincount(
            known, minlength=num_classes
        )
    if 'gt_score' in sample:
        return None, sample.gt_score.double().numpy()
    if 'gt_label' not in sample:
        raise ValueError(
            'its samples have no labels: add LoadAnnotations to the pipeline, or choose another '
            '--phase.'
        )
    return None, np.bincount(sample.gt_label.flatten().numpy(), minlength=num_classes)
