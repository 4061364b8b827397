"""Export of a trained model as a folder that mmsegmentation or mmpretrain runs without lt_mm."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from lt_mm.export.plain_model import COUNTS
from lt_mm.export.segmentor import plain_segmentor
from lt_mm.export.settings import inference_settings
from lt_mm.models.counts import counts_of_training
from lt_mm.structures import ClassCounts

_SHIPPED = Path(__file__).parents[1] / 'models' / 'shipped'


@dataclass(frozen=True)
class ExportedModel:
    """A segmentor or classifier that needs no lt_mm.

    Args:
        config: the plain model, and what :func:`inference_settings` keeps.
        checkpoint: ``state_dict`` and ``meta``, of tensors and plain Python types only.
        modules: files of lt_mm/models/shipped, without '.py', that ``config`` imports and that must
            come with it: none, if mmsegmentation or mmpretrain has all parts of the model.
    """

    config: Config
    checkpoint: dict
    modules: list[str]

    def save(self, folder: str | Path) -> list[Path]:
        """Write config.py, weights.pth and the modules into a folder, and return their paths.

        The modules are copies. A config with modules begins with shipped/look_beside.py, which
        makes those beside it importable.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        head = f'{(_SHIPPED / "look_beside.py").read_text()}\n' if self.modules else ''
        (folder / 'config.py').write_text(head + self.config.pretty_text, encoding='utf-8')
        torch.save(self.checkpoint, folder / 'weights.pth')
        names = [f'{module}.py' for module in self.modules]
        for name in names:
            shutil.copyfile(_SHIPPED / name, folder / name)
        return [folder / name for name in ('weights.pth', 'config.py', *names)]


def export_model(
    config: Config,
    checkpoint: Mapping[str, Any],
    expert: int | None = None,
    shift: Tensor | None = None,
) -> ExportedModel:
    """Leave of a config and its checkpoint what an mm package needs for the same predictions.

    Args:
        config: config of the training; left as it is.
        checkpoint: with the ``state_dict`` and perhaps the ``meta`` of mmengine's Runner; left as
            it is; :func:`~lt_mm.checkpoints.read_checkpoint` reads it. Of ``meta``, what
            ``dataset_meta`` and ``class_counts`` hold of plain types is kept.
        expert: which of several is taken alone, from 0.
        shift: (C,), added to the logits of the classifier, whose bias takes it up; that of a plain
            model of the mm packages, too.

    Raises:
        ValueError: if the model cannot be exported, see
            :func:`~lt_mm.export.segmentor.plain_segmentor` and
            :func:`~lt_mm.export.classifier.plain_classifier`, or its test pipeline cannot.
    """
    if not isinstance(checkpoint, Mapping) or 'state_dict' not in checkpoint:
        raise ValueError('there is no state_dict; give a checkpoint that the training saved.')
    settings = config.to_dict()
    model = dict(settings.get('model') or {})
    # mmengine's Runner looks for it beside the model, too; inference of the mm packages does not.
    if settings.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', settings['data_preprocessor'])
    weights, meta = checkpoint['state_dict'], checkpoint.get('meta') or {}
    if not any(COUNTS in name and value.numel() for name, value in weights.items()):
        # It was trained without post-compensation.
        counts = _counts_of_training(settings, meta)
        model = model if counts is None else _with_counts(model, counts)
    if 'head' in model:
        # mmpretrain need not be there for segmentation.
        from lt_mm.export.classifier import plain_classifier

        scope, plain = (
            'mmpretrain',
            plain_classifier(model, weights, expert, shift),
        )
    else:
        scope, plain = 'mmseg', plain_segmentor(model, weights, expert, shift)
    kept = inference_settings(settings, scope)
    if plain.modules:
        custom = kept.get('custom_imports', {'imports': []})
        custom = {**custom, 'imports': [*custom['imports'], *plain.modules]}
        kept = {**kept, 'custom_imports': custom}
    meta = {name: _plain(meta[name]) for name in ('dataset_meta', 'class_counts') if name in meta}
    return ExportedModel(
        Config({**kept, 'model': plain.config}),
        dict(meta=meta, state_dict=plain.weights),
        plain.modules,
    )


def _counts_of_training(settings: Mapping, meta: Mapping) -> ClassCounts | None:
    """As a test with the ClassCountsHook of the config finds them."""
    hooks = [hook for hook in settings.get('custom_hooks') or () if isinstance(hook, Mapping)]
    hook = next((h for h in hooks if str(h.get('type')).endswith('ClassCountsHook')), {})
    given = hook.get('class_counts')
    if given is not None:
        given = ClassCounts.of(given, unit=hook.get('unit') or 'images')
    return counts_of_training(meta, given, hook.get('sampler_prior', True))


def _with_counts(settings: Any, counts: ClassCounts) -> Any:
    """A config in which each post-compensation that names no counts is given these."""
    if isinstance(settings, list | tuple):
        return type(settings)(_with_counts(value, counts) for value in settings)
    if not isinstance(settings, Mapping):
        return settings
    settings = {name: _with_counts(value, counts) for name, value in settings.items()}
    own = settings.get('post_compensation')
    if isinstance(own, Mapping) and own.get('class_counts') is None:
        settings['post_compensation'] = {**own, 'class_counts': counts}
    return settings


def _plain(value: Any) -> Any:
    """``value`` without what is not of Python's own types, and thus read anywhere."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if _is_plain(item)}
    return value if _is_plain(value) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float))
