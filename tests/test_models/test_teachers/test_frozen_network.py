"""The model of a teacher's config, whatever form the config has."""

from mmengine.config import Config

from lt_mm.models.teachers.frozen_network import teacher_model_config

MODEL = dict(type='A', backbone=dict(type='B', init_cfg=dict(type='Pretrained')), pretrained='x')


def test_name_of_an_installed_config():
    cfg = teacher_model_config('mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py')
    assert cfg.decode_head.num_classes == 150
    assert cfg.pretrained is None and cfg.auxiliary_head is None
    cfg = teacher_model_config('mmpretrain::resnet/resnet18_8xb16_cifar10.py')
    assert cfg.type == 'ImageClassifier' and cfg.data_preprocessor.num_classes == 10


def test_nothing_is_downloaded_and_nothing_added(tmp_path):
    (tmp_path / 'a.py').write_text(f'model = {MODEL!r}')
    expected = dict(type='A', backbone=dict(type='B', init_cfg=None), pretrained=None)
    for config in (
        MODEL,
        dict(model=MODEL),
        tmp_path / 'a.py',
        Config(dict(model=MODEL))._cfg_dict,
    ):
        assert teacher_model_config(config) == expected
    assert MODEL['backbone']['init_cfg'] is not None


def test_preprocessor_beside_the_model_unless_it_has_its_own():
    beside = dict(model=dict(type='A'), data_preprocessor=dict(mean=[1.0]))
    assert teacher_model_config(beside).data_preprocessor == dict(mean=[1.0])
    beside['model']['data_preprocessor'] = dict(mean=[2.0])
    assert teacher_model_config(beside).data_preprocessor == dict(mean=[2.0])
