"""Metrics under test-time augmentation: the order of the views decides nothing."""

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

VIEWS = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
ORDERS = (VIEWS, VIEWS[::-1], VIEWS[:1])


@pytest.fixture
def evaluated(forget_mmengine, tmp_path):
    """Test a model of the same random weights, with the steps of a pipeline around its views."""

    def run(wrapper, metric, collate, before, views, after):
        forget_mmengine()
        cfg = Config.fromfile(tmp_path / 'tiny.py')
        steps = [[step] for step in before], [views], [[step] for step in after]
        cfg.test_dataloader.dataset.pipeline = [
            cfg.pipeline[0],
            dict(type='TestTimeAug', transforms=sum(steps, [])),
        ]
        cfg.test_dataloader.update(collate_fn=dict(type=collate), batch_size=2)
        return Runner(
            dict(type=wrapper, module=cfg.model),
            str(tmp_path / 'w'),
            test_dataloader=cfg.test_dataloader,
            test_cfg=dict(),
            test_evaluator=[dict(type='lt_mm.CalibrationError'), dict(type=metric)],
            data_preprocessor=cfg.get('data_preprocessor'),
            randomness=dict(seed=1),
            default_scope=cfg.default_scope,
        ).test()

    return run


@pytest.mark.parametrize('collate', ['pseudo_collate', 'default_collate'])
def test_classification(write_config, evaluated, tmp_path, collate):
    pytest.importorskip('mmpretrain')
    folders = dict(cat=256, dog=256)
    write_config(tmp_path / 'tiny.py', 'tiny_classification.py', folders, tmp_path / 'data')
    given = 'AverageClsScoreTTA', 'lt_mm.LongTailAccuracy', collate
    ends = [dict(type='Resize', scale=32)], [dict(type='PackInputs')]
    found = [evaluated(*given, ends[0], views, ends[1]) for views in ORDERS]
    assert found[0] == pytest.approx(found[1], rel=1e-6, nan_ok=True)
    assert found[0]['calibration/NLL'] != pytest.approx(found[2]['calibration/NLL'], rel=1e-6)


@pytest.mark.parametrize('outputs', [3, 1])
@pytest.mark.parametrize('collate', ['pseudo_collate', 'default_collate'])
def test_segmentation(write_config, evaluated, tmp_path, capsys, collate, outputs):
    folders = dict(images=256, labels=2)
    write_config(tmp_path / 'tiny.py', 'tiny_segmentation.py', folders, tmp_path / 'data')
    if outputs == 1:
        binary = (
            "model['decode_head'].update(num_classes=2, out_channels=1, threshold=.5)\n"
            "dataset['metainfo'] = dict(classes=('field', 'weed'))\n"
        )
        (tmp_path / 'tiny.py').write_text((tmp_path / 'tiny.py').read_text() + binary)
    given = 'SegTTAModel', 'lt_mm.LongTailIoUMetric', collate, []
    ends = [dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    found = [evaluated(*given, views, ends) for views in ORDERS]
    assert found[0] == pytest.approx(found[1], nan_ok=True)
    assert 0 <= found[0]['mIoU'] <= 100 and 'calibration/ECE' not in found[0]
    assert capsys.readouterr().out.count('CalibrationError gives no figures, because') == 2
    # Of a single view, the scores are those of the prediction.
    assert found[2]['calibration/ECE'] >= 0
