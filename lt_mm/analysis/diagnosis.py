"""Diagnose a data set and a model of any config of mmseg or mmpretrain."""

import copy
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lt_mm.analysis.advice import Commands, advise
from lt_mm.analysis.data_statistics import (
    SMALL_REGION,
    company,
    group_of_classes,
    prior_shift,
    rank_correlation,
    split_statistics,
)
from lt_mm.analysis.feature_norms import FeatureNorms
from lt_mm.analysis.inputs import build_dataset, check_weights, validate_as_test
from lt_mm.analysis.model_statistics import ModelStatistics, model_statistics
from lt_mm.checkpoints import read_checkpoint
from lt_mm.compat import swaps_channels
from lt_mm.datasets.class_counting import SampleCounts, count_samples
from lt_mm.datasets.label_reading import locate
from lt_mm.engine.data_config import check_dataset_paths
from lt_mm.engine.distributed import build_runner, unwrapped
from lt_mm.engine.launch import check_writable
from lt_mm.evaluation.per_class import log
from lt_mm.models.heads.find_classifier import find_classifier
from lt_mm.structures import ClassCounts, ClassGroups
from lt_mm.visualization.diagnosis import draw_example, write_report

NAME = 'diagnosis'


class DiagnosisError(ValueError):
    """What was asked for cannot be done; the text says why and what to do."""


def diagnose(
    config: Config,
    commands: Commands,
    out: Path,
    class_counts: str | None = None,
) -> dict[str, Any]:
    """Write ``diagnosis.json`` and ``diagnosis.html`` of a config and perhaps its checkpoint.

    What the data tell is written first, so that it is there if the model fails or is stopped.

    Args:
        config: as :func:`~lt_mm.engine.launch.load_config` read it; changed in place.
        commands: the config, and the checkpoint if the model is to be run, as on the command line.
        out: folder of the results; made if need be.
        class_counts: of the training set, a packaged name or a path, where its data are not here.
            Defaults to None, the training set is counted.

    Returns:
        The content of the JSON file.

    Raises:
        DiagnosisError: if the folder cannot be written, data or counts are missing, the validation
            set is empty, or checkpoint, model and data are not of the same classes, or the model
            gives scores that are not a number.
    """
    checkpoint = commands.checkpoint
    try:
        check_writable(out, '--out', (f'{NAME}.json', f'{NAME}.html'))
    except OSError as error:
        raise DiagnosisError(str(error)) from error
    _validate_as_test(config, out)
    content: dict[str, Any] = dict(
        config=str(config.filename),
        checkpoint=None if checkpoint is None else str(checkpoint),
        has_tta=config.get('tta_model') is not None and config.get('tta_pipeline') is not None,
        files=dict(val_counts=str(out / 'val_counts.json')),
    )
    has_training_set = _check_data(config, class_counts)
    weights = None if checkpoint is None else _read(checkpoint)
    runner = None
    if checkpoint is not None:
        config.load_from = str(checkpoint)
        runner = build_runner(config, terse=True)
        with _told():
            check_weights(unwrapped(runner.model), weights['weights'], checkpoint)
    with _told():
        val_dataset = build_dataset(config.test_dataloader, 'validation')
        layer = None
        if runner is not None:
            layer = _check_outputs(unwrapped(runner.model), _class_names(val_dataset))
        val = _count(val_dataset, config.test_dataloader, out)
        classes = val.class_names or tuple(map(str, range(val.table.shape[1])))
        train = None
        if has_training_set:
            dataset = build_dataset(config.train_dataloader, 'training')
            train = _count(dataset, config.train_dataloader, out)
        counts = _training_counts(train, class_counts, weights, config, val, classes)
        groups = _groups(config, val.unit).split(counts)
    val.class_counts().save(content['files']['val_counts'])
    _describe_data(content, train, val, counts, groups, classes)
    pipeline = getattr(getattr(locate(val_dataset, 0)[0], 'pipeline', None), 'transforms', ())
    steps = [
        dict(type=type(step).__name__, scale=getattr(step, 'scale', None)) for step in pipeline
    ]
    content['advice'] = advise(content, commands, steps)
    examples: list[dict] = []
    _write(content, examples, out)
    if runner is None:
        return content
    log(f'{out / NAME}.html holds what the data tell; now the model is run')
    sums = _run(runner, len(classes), val.unit == 'pixels', layer)
    _describe_model(content, sums, groups, layer)
    examples = _examples(runner, sums, content['model']['worst_pairs'])
    content['advice'] = advise(content, commands, steps)
    _write(content, examples, out)
    return content


def _validate_as_test(config: Config, out: Path) -> None:
    """Let ``Runner.test`` run the validation set in order."""
    with _told():
        validate_as_test(config)
    loader = copy.deepcopy(dict(config.test_dataloader))
    loader.pop('batch_sampler', None)
    loader['sampler'] = dict(type='DefaultSampler', shuffle=False)
    config.test_dataloader = loader
    config.test_cfg = dict()
    config.work_dir = str(out)


def _check_data(config: Config, class_counts: str | None) -> bool:
    """Whether there is a training set to count."""
    try:
        check_dataset_paths(config, ('test_dataloader',))
    except FileNotFoundError as error:
        raise DiagnosisError(str(error)) from error
    if config.get('train_dataloader') is None:
        return False
    try:
        check_dataset_paths(config, ('train_dataloader',))
    except FileNotFoundError as error:
        if class_counts is None:
            raise DiagnosisError(
                f'{error}; or give the class counts of the training set, --class-counts NAME or '
                'PATH, to diagnose without its data.'
            ) from error
        log(f'The training set is left out: {error}', logging.WARNING)
        return False
    return True


def _read(checkpoint: str) -> dict[str, Any]:
    """Weights of a checkpoint, and what it says of itself."""
    with _told():
        content = read_checkpoint(checkpoint)
    content = content if isinstance(content, dict) else {}
    weights = content.get('state_dict', content)
    weights = {
        str(name).removeprefix('module.'): value
        for name, value in weights.items()
        if isinstance(value, Tensor)
    }
    if not weights:
        raise DiagnosisError(
            f'Checkpoint {checkpoint} holds no weights: give a file with the state_dict of a model.'
        )
    meta = content.get('meta')
    return dict(weights=weights, meta=meta if isinstance(meta, dict) else {})


def _check_outputs(
    model: torch.nn.Module, classes: Sequence[str] | None
) -> tuple[str, torch.nn.Module] | None:
    """The classifier of a model that is of as many classes as the validation set."""
    head = getattr(model, 'decode_head', None) or getattr(model, 'head', None)
    head = head[-1] if isinstance(head, torch.nn.ModuleList) else head
    outputs = getattr(head, 'out_channels', None) or getattr(head, 'num_classes', None)
    if None in (outputs, classes):
        return None
    if outputs != len(classes) and (outputs, len(classes)) != (1, 2):
        raise DiagnosisError(
            f'The model has {outputs} classes and the validation set {len(classes)}: set '
            'num_classes of the head, or the class names of the data set, to the other number.'
        )
    return find_classifier(model, outputs)


@contextmanager
def _told() -> Any:
    """Errors of data, counts and checkpoints say what is wrong, so they need no traceback."""
    try:
        yield
    except DiagnosisError:
        raise
    except (ValueError, TypeError, FileNotFoundError, ConnectionError) as error:
        raise DiagnosisError(str(error)) from error


def _class_names(dataset: Dataset) -> Sequence[str] | None:
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')


def _count(dataset: Dataset, loader: Mapping, out: Path) -> SampleCounts:
    workers = loader.get('num_workers', 0)
    return count_samples(dataset, out / 'counts', workers, with_regions=True)


def _training_counts(
    train: SampleCounts | None,
    given: str | None,
    weights: Mapping[str, Any] | None,
    config: Config,
    val: SampleCounts,
    classes: Sequence[str],
) -> ClassCounts:
    """Counts of the training set: given, counted or from the checkpoint, in this order."""
    if given is not None:
        counts = ClassCounts.load(given)
    elif train is not None:
        counts = train.class_counts()
    elif ((weights or {}).get('meta') or {}).get('class_counts') is not None:
        counts = ClassCounts.of(weights['meta']['class_counts'], val.unit)
    else:
        raise DiagnosisError(
            f'The class counts of the training set are unknown, as {config.filename} has no '
            'train_dataloader: give --class-counts NAME or PATH.'
        )
    counts = counts.in_order_of(val.class_names, 'the validation set')
    counts.validate(len(classes), 'the validation set')
    return counts


def _groups(config: Config, unit: str) -> ClassGroups:
    """The groups that the config evaluates, or those that are usual."""
    evaluators = config.get('val_evaluator') or []
    evaluators = [evaluators] if isinstance(evaluators, Mapping) else evaluators
    given = [one.get('groups') for one in evaluators if isinstance(one, Mapping)]
    return ClassGroups.of(next(filter(None, given), None), unit)


def _describe_data(
    content: dict[str, Any],
    train: SampleCounts | None,
    val: SampleCounts,
    counts: ClassCounts,
    groups: Mapping[str, Tensor],
    classes: Sequence[str],
) -> None:
    group_of = group_of_classes(groups, len(classes))
    splits = dict(train=train, val=val)
    data = {name: split_statistics(one) for name, one in splits.items() if one is not None}
    columns = ('counts', 'images', 'regions', 'small_regions', 'region_size')
    content.update(
        task='segmentation' if val.unit == 'pixels' else 'classification',
        unit=val.unit,
        group_names=list(groups),
        training_counts=counts.source,
        classes=[],
    )
    of_split = {
        name: {column: split.pop(column) for column in columns if column in split}
        for name, split in data.items()
    }
    for c, name in enumerate(classes):
        row = dict(index=c, name=name, group=group_of[c])
        for split, values in of_split.items():
            row[split] = {
                'count' if column == 'counts' else column: value[c]
                for column, value in values.items()
            }
        if 'train' not in row:
            row['train'] = dict(count=int(counts.counts[c]), images=0)
        content['classes'].append(row)
    for split in data.values():
        split['absent'] = [classes[c] for c in split['absent']]
    shift = prior_shift(counts.counts.tolist(), of_split['val']['counts'])
    members = list(groups.values())
    rows = []
    if val.unit == 'pixels' and len(members) > 1:
        rare, frequent = members[-1].tolist(), members[0].tolist()
        rows = company(train or val, rare, frequent)
    beside = [other for row in rows for other in row['beside']]
    for one in [*shift['most'], *rows, *beside]:
        one['name'] = classes[one['label']]
    content['data'] = dict(**data, prior_shift=shift, company=rows)


def _run(
    runner: Runner, num_classes: int, is_segmentation: bool, layer: tuple | None
) -> ModelStatistics:
    model = unwrapped(runner.model)
    features = None
    if layer is not None and hasattr(model, 'data_preprocessor'):
        features = FeatureNorms(model, layer[1])
    loop = runner.test_loop
    ignore_index = getattr(locate(loop.dataloader.dataset, 0)[0], 'ignore_index', 255)
    sums = ModelStatistics(num_classes, is_segmentation, ignore_index, features)
    loop.evaluator = Evaluator([sums])
    with _told():
        runner.test()
    return sums


def _describe_model(
    content: dict[str, Any],
    sums: ModelStatistics,
    groups: Mapping[str, Tensor],
    layer: tuple[str, torch.nn.Module] | None,
) -> None:
    model = model_statistics(sums, groups)
    per_class = model.pop('per_class')
    norms = None
    if layer is not None:
        weight = layer[1].weight.detach().double().flatten(1).norm(dim=1).cpu().tolist()
        if len(weight) == sums.num_classes:
            per_class['weight_norm'] = weight
        counts = [row['train']['count'] or None for row in content['classes']]
        norms = dict(
            layer=layer[0],
            **{
                f'{what}_correlation': rank_correlation(per_class[f'{what}_norm'], counts)
                for what in ('weight', 'feature')
                if f'{what}_norm' in per_class
            },
        )
    model['norms'] = norms
    for c, row in enumerate(content['classes']):
        row['model'] = {name: values[c] for name, values in per_class.items()}
    for pair in model['worst_pairs']:
        for what in ('label', 'predicted'):
            pair[f'{what}_name'] = content['classes'][pair[what]]['name']
            pair[f'{what}_group'] = content['classes'][pair[what]]['group']
    if 'regions' in model:
        model['small_regions'] = _small_regions(sums.regions.sum(axis=1))
    content['model'] = _without_nan(model)
    content['classes'] = _without_nan(content['classes'])


def _small_regions(sums: np.ndarray) -> dict[str, Any]:
    """How many small regions are found, and larger ones; (4, SIZE_BINS) sums over classes."""
    number, found = (np.add.reduceat(row, [0, SMALL_REGION]) for row in sums[:2])
    shares = [float(f / n) if n else None for f, n in zip(found, number, strict=True)]
    return dict(
        number=int(number[0]),
        number_larger=int(number[1]),
        found=shares[0],
        found_larger=shares[1],
    )


def _examples(runner: Runner, sums: ModelStatistics, pairs: Sequence[dict]) -> list[dict]:
    """A picture of each pair, from the image where it is worst, predicted once more."""
    model = unwrapped(runner.model)
    dataset = runner.test_loop.dataloader.dataset
    examples, cache = [], {}
    for pair in pairs:
        key = pair['label'], pair['predicted']
        if key not in sums.examples:
            continue
        index = sums.examples[key][1]
        if index not in cache:
            cache = {index: _predicted(model, dataset, index, sums.is_segmentation)}
        image, path, labels, prediction = cache[index]
        pair['example'] = path
        picture = draw_example(image, labels, prediction, *key)
        examples.append(dict(pair=key, picture=picture))
    return examples


def _predicted(
    model: torch.nn.Module, dataset: Any, index: int, is_segmentation: bool
) -> tuple[np.ndarray, str, np.ndarray | None, np.ndarray | None]:
    """Image (H, W, 3) uint8, its path, and its (H, W) labels and predictions if it has some."""
    data = dataset[index]
    sample = data['data_samples']
    path = sample.metainfo.get('img_path') or ''
    if path and Path(path).is_file():
        with Image.open(path) as file:
            image = np.asarray(file.convert('RGB'))
    else:
        pixels = data['inputs'].permute(1, 2, 0)
        image = pixels.float().clamp(0, 255).byte().expand(*pixels.shape[:2], 3).numpy()
        if swaps_channels(model.data_preprocessor):
            image = image[..., ::-1]
    if not is_segmentation:
        return image, path, None, None
    with torch.no_grad():
        predicted = model.test_step(pseudo_collate([data]))[0]
    maps = (predicted.gt_sem_seg.data, predicted.pred_sem_seg.data)
    labels, prediction = (m.squeeze(0).cpu().numpy().astype(np.int64) for m in maps)
    return image, path, labels, prediction


def _write(content: dict[str, Any], examples: Sequence[dict], out: Path) -> None:
    """Write both files, each complete or not at all."""
    pictures = {tuple(one['pair']): one['picture'] for one in examples}
    text = json.dumps(_without_nan(content), indent=1, ensure_ascii=False)
    for name, write in (
        (f'{NAME}.json', lambda path: path.write_text(text + '\n', encoding='utf-8')),
        (f'{NAME}.html', lambda path: write_report(content, pictures, path)),
    ):
        partial = out / f'.{name}.{os.getpid()}.part'
        write(partial)
        partial.replace(out / name)


def _without_nan(value: Any) -> Any:
    """The same with None for what is not a number, which JSON does not know, and plain numbers."""
    if isinstance(value, Mapping):
        return {str(key): _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
