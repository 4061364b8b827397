"""What stays of a config when lt_mm is not there to read it."""

import pytest
from mmengine.config import Config

from lt_mm.export.plain_model import names_lt_mm
from lt_mm.export.settings import inference_settings

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
EVALUATION = dict(
    test_dataloader=dict(batch_size=1, dataset=dict(type='ADE20KDataset', pipeline=PIPELINE)),
    test_evaluator=dict(type='IoUMetric'),
    test_cfg=dict(),
)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ('lt_mm.GMLFCNHead', True),
        (dict(a=[1, dict(type='lt_mm.X')]), True),
        (((None, 'lt_mm.X'),), True),
        (dict(a='lt_mm', b='of lt_mm.X', c=None, d=['x', ['y']]), False),
    ],
)
def test_names_lt_mm(settings, expected):
    assert names_lt_mm(settings) is expected


def test_evaluation_with_the_plain_metric():
    metric = dict(
        type='lt_mm.LongTailIoUMetric', iou_metrics=['mIoU'], ignore_index=0,
        groups=dict(by='index'), class_counts='ade20k_pixels', prefix='a',
    )  # fmt: skip
    plain = dict(type='IoUMetric', iou_metrics=['mIoU'], ignore_index=0, prefix='a')
    kept = inference_settings({**EVALUATION, 'test_evaluator': metric}, 'mmseg')
    assert kept == {
        **EVALUATION, 'test_evaluator': plain, 'default_scope': 'mmseg', 'test_pipeline': PIPELINE,
    }  # fmt: skip
    kept = inference_settings(
        {**EVALUATION, 'test_evaluator': [metric, dict(type='Other')]}, 'mmseg'
    )
    assert kept['test_evaluator'] == [plain, dict(type='Other')]


@pytest.mark.parametrize(
    'change',
    [
        dict(
            test_dataloader=dict(dataset=dict(type='lt_mm.DigitScenesDataset', pipeline=PIPELINE))
        ),
        dict(test_evaluator=[dict(type='IoUMetric'), dict(type='lt_mm.Other')]),
        dict(test_cfg=None),
        dict(test_evaluator=None),
    ],
)
def test_evaluation_is_kept_whole_or_not_at_all(change):
    kept = inference_settings({**EVALUATION, **change}, 'mmseg')
    assert kept.keys() == {'default_scope', 'test_pipeline'}


def test_training_is_left_out_and_the_rest_stays():
    rest = dict(
        tta_model=dict(type='SegTTAModel'),
        tta_pipeline=PIPELINE,
        default_hooks=dict(visualization=dict(type='SegVisualizationHook')),
        log_level='INFO',
        custom_imports=dict(imports=['mmpretrain.models'], allow_failed_imports=False),
        default_scope='mmseg',
        test_pipeline=PIPELINE,
    )
    training = dict(train_dataloader=1, optim_wrapper=1, custom_hooks=[1], load_from='a', model=1)
    assert inference_settings({**rest, **training}, 'mmseg') == rest
    rest['default_hooks']['checkpoint'] = dict(type='lt_mm.Hook')
    assert 'default_hooks' not in inference_settings(rest, 'mmseg')


@pytest.mark.parametrize('imports', ['lt_mm', ['lt_mm.models', 'lt_mm']])
def test_imports_of_lt_mm_go(imports):
    settings = dict(test_pipeline=PIPELINE, custom_imports=dict(imports=imports))
    assert 'custom_imports' not in inference_settings(settings, 'mmseg')


def test_types_of_a_config_that_imports_them(tmp_path):
    path = tmp_path / 'lazy.py'
    path.write_text(
        'from mmseg.datasets import PackSegInputs\n'
        'from lt_mm.evaluation import LongTailIoUMetric\n'
        "test_evaluator = dict(type=LongTailIoUMetric, groups=dict(by='index'))\n"
        'test_dataloader = dict(dataset=dict(pipeline=[dict(type=PackSegInputs)]))\n'
        'test_cfg = dict()\n'
    )
    kept = inference_settings(Config.fromfile(path).to_dict(), 'mmseg')
    assert kept['test_evaluator'] == dict(type='IoUMetric')
    assert kept['test_pipeline'] == [dict(type='mmseg.datasets.PackSegInputs')]


@pytest.mark.parametrize(
    ('settings', 'told'),
    [
        ({}, 'is None'),
        (dict(test_pipeline=[dict(type='lt_mm.Load')]), r"is \['lt_mm.Load'\]"),
    ],
)
def test_pipelines_that_cannot_be_kept(settings, told):
    with pytest.raises(ValueError, match=told):
        inference_settings(settings, 'mmseg')


def test_classification_keeps_its_pipeline_where_mmpretrain_looks_for_it():
    metrics = [dict(type='lt_mm.ExpertAccuracy'), dict(type='lt_mm.LongTailAccuracy', topk=(1, 5))]
    kept = inference_settings({**EVALUATION, 'test_evaluator': metrics}, 'mmpretrain')
    assert kept['test_evaluator'] == [dict(type='Accuracy', topk=(1,))] * 2
    assert kept['test_dataloader'] == EVALUATION['test_dataloader']
    kept = inference_settings(dict(test_pipeline=PIPELINE), 'mmpretrain')
    dataset = dict(type='CustomDataset', pipeline=PIPELINE)
    assert kept['test_dataloader'] == dict(dataset=dataset)
