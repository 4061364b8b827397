"""Export of one expert as a classifier that mmpretrain runs without lt_mm."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from lt_mm.export.exported_model import ExportedModel, packed, trained_weights, whole_model
from lt_mm.export.inference_config import inference_settings
from lt_mm.export.plain_classifier import plain_expert


def export_expert(config: Config, checkpoint: Mapping[str, Any], expert: int) -> ExportedModel:
    """Leave of a config and its checkpoint what mmpretrain needs for one expert's predictions.

    Args:
        config: config of the training; left as it is.
        checkpoint: see :func:`~lt_mm.export.exported_model.export_segmentor`.
        expert: which, from 0.

    Raises:
        ValueError: if the expert cannot be exported, see :func:`plain_expert`, or if the test
            pipeline cannot, see :func:`inference_settings`.
    """
    settings = config.to_dict()
    plain = plain_expert(whole_model(settings), trained_weights(checkpoint), expert)
    evaluator = _plain_evaluator(settings.get('test_evaluator'))
    kept = inference_settings(
        {'default_scope': 'mmpretrain', **settings, 'test_evaluator': evaluator}
    )
    # mmpretrain's inference looks for the pipeline here alone.
    dataset = dict(type='CustomDataset', pipeline=kept['test_pipeline'])
    kept.setdefault('test_dataloader', dict(dataset=dataset))
    return packed(*plain, kept, checkpoint)


def _plain_evaluator(evaluator: Mapping | Sequence | None) -> dict | list | None:
    """The metrics with mmpretrain's Accuracy for those of lt_mm that extend it."""
    if isinstance(evaluator, Mapping):
        if evaluator['type'] not in ('lt_mm.LongTailAccuracy', 'lt_mm.ExpertAccuracy'):
            return evaluator
        return dict(type='Accuracy', topk=(1,))
    return evaluator and [_plain_evaluator(metric) for metric in evaluator]
