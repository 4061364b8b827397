"""Misspelt components and options of lt_mm, as configs of the mm packages build them."""

import inspect

import pytest
from mmengine import registry as roots
from mmengine.registry import DefaultScope

import lt_mm.registry
from lt_mm.registry import MODELS, arguments_of

HEAD = dict(
    type='lt_mm.LongTailHead', base='FCNHead', in_channels=4, channels=4, num_classes=3, num_convs=0
)
CLS_HEAD = dict(type='lt_mm.LongTailClsHead', in_channels=4, num_classes=3)


def build(kind, config, scope='mmseg'):
    with DefaultScope.overwrite_default_scope(scope):
        return getattr(roots, kind).build(config)


@pytest.mark.parametrize(
    ('kind', 'name', 'near'),
    [
        ('MODELS', 'LogitAdjustedLos', 'LogitAdjustedLoss'),
        ('MODELS', 'longTailHead', 'LongTailHead'),
        ('MODELS', 'LongTailEncoderDecodr', 'LongTailEncoderDecoder'),
        ('HOOKS', 'ClassCountHook', 'ClassCountsHook'),
        ('DATA_SAMPLERS', 'ClassAwareSamplr', 'ClassAwareSampler'),
        ('DATASETS', 'DigitScenes', 'DigitScenesDataset'),
        ('METRICS', 'LongtailIoUMetric', 'LongTailIoUMetric'),
    ],
)
def test_a_misspelt_component_has_a_near_name(kind, name, near):
    message = rf"lt_mm has no .*'{name}' \(did you mean 'lt_mm\.{near}'\?\); check the type"
    with pytest.raises(KeyError, match=message):
        build(kind, dict(type=f'lt_mm.{name}'))


def test_whether_a_component_is_there_can_be_asked():
    assert 'lt_mm.LongTailHead' in MODELS and 'LongTailHead' in MODELS
    assert 'lt_mm.PSPHead' not in MODELS and 'NoSuch' not in MODELS


def test_a_component_of_another_kind_is_told_to_be_one():
    message = "lt_mm has no model 'ClassAwareSampler', but a data sampler; check"
    with pytest.raises(KeyError, match=message):
        build('MODELS', dict(type='lt_mm.ClassAwareSampler'))
    with pytest.raises(KeyError, match="lt_mm has no model 'Foo'; check"):
        build('MODELS', dict(type='lt_mm.Foo'))
    # A path with dots is imported.
    loss = build('MODELS', dict(type='lt_mm.models.losses.LogitAdjustedLoss'))
    assert type(loss).__name__ == 'LogitAdjustedLoss'


@pytest.mark.parametrize(
    ('kind', 'config', 'owner', 'near'),
    [
        ('MODELS', dict(type='lt_mm.LogitAdjustedLoss', alfa=1.0), 'LogitAdjustedLoss', 'alpha'),
        ('MODELS', dict(type='lt_mm.BCLLoss', temprature=1.0), 'BCLLoss', 'temperature'),
        (
            'MODELS',
            dict(HEAD, contrast=dict(type='lt_mm.GMLLoss', mixture_temp=3)),
            'GMLLoss',
            'mixture_temperature',
        ),
        ('MODELS', dict(type='lt_mm.DisAlign', nomalize=1), 'DisAlign', 'normalize'),
        ('MODELS', dict(HEAD, chanels=4), 'LongTailFCNHead', 'channels'),
        ('MODELS', dict(HEAD, contrst=None), 'LongTailFCNHead', 'contrast'),
        (
            'MODELS',
            dict(HEAD, post_compensation=dict(alfa=1.0)),
            'PostCompensation',
            'alpha',
        ),
        (
            'MODELS',
            dict(HEAD, loss_decode=dict(type='lt_mm.LogitAdjustedLoss', alfa=1.0)),
            'LogitAdjustedLoss',
            'alpha',
        ),
        ('MODELS', dict(CLS_HEAD, inchannels=3), 'LongTailLinearClsHead', 'in_channels'),
        ('MODELS', dict(type='lt_mm.ScaledResNet', dept=18), 'ScaledResNet', 'depth'),
        ('HOOKS', dict(type='lt_mm.ClassCountsHook', class_count=[1]), 'ClassCountsHook', 'class_'),
        ('HOOKS', dict(type='lt_mm.RankZeroLoggerHook', intervall=1), 'RankZeroL', 'interval'),
        ('HOOKS', dict(type='lt_mm.SafeCheckpointHook', intervall=1), 'SafeCheckp', 'interval'),
        (
            'DATA_SAMPLERS',
            dict(type='lt_mm.ClassAwareSampler', dataset=[], siez=3),
            'ClassAwareSampler',
            'size',
        ),
        ('DATASETS', dict(type='lt_mm.DigitsLT', splitt='test'), 'DigitsLT', 'split'),
        ('METRICS', dict(type='lt_mm.ExpertAccuracy', prefx='a'), 'ExpertAccuracy', 'prefix'),
        ('METRICS', dict(type='lt_mm.LongTailIoUMetric', grups=1), 'LongTailIoUMetric', 'groups'),
    ],
)
def test_a_misspelt_option_has_a_near_name(kind, config, owner, near):
    scope = 'mmpretrain' if config['type'] == CLS_HEAD['type'] else 'mmseg'
    with pytest.raises(TypeError, match=rf"^{owner}.* \(did you mean '{near}"):
        build(kind, config, scope)


def test_options_of_other_classes_are_left_to_them():
    loss = dict(type='CrossEntropyLoss', class_wight=1.0)
    with pytest.raises(TypeError, match=r'CrossEntropyLoss\.__init__\(\) got an unexpected'):
        build('MODELS', dict(HEAD, loss_decode=loss))


def test_a_part_without_a_type_is_told_what_it_may_be():
    with pytest.raises(ValueError, match=r"contrast of LongTailFCNHead is .*type='lt_mm.GMLLoss'"):
        build('MODELS', dict(HEAD, contrast=dict(queue_size=3)))


def test_classes_still_tell_their_own_arguments():
    MODELS.import_from_location()
    loss = MODELS.get('LogitAdjustedLoss')
    assert 'alpha' in inspect.signature(loss).parameters
    assert {'alpha', 'loss_weight'} <= set(arguments_of(loss))
    kinds = {registry.name for registry in lt_mm.registry.REGISTRIES}
    assert len(kinds) == len(lt_mm.registry.REGISTRIES)
