"""MultiExpertResNet: experts that are the plain network, shared parts, widths, gradients."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models.backbones import ResNet, ResNeXt
from mmpretrain.registry import MODELS
from torch import nn

from lt_mm.models.backbones import (
    MultiExpertResNet,
    ResNetCifar6n2,
    expert_backbone,
    multi_expert_weights,
    plain_weights,
)

CIFAR = dict(type='lt_mm.ResNetCifar6n2', depth=8, widths=(4, 6, 8))
RESNET = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8)
BOTTLENECK = dict(type='ResNet', depth=50, stem_channels=8, base_channels=4)
DEEP = dict(type='ResNetV1d', depth=18, stem_channels=8, base_channels=4)
RESNEXT = dict(
    type='ResNeXt', depth=50, groups=2, width_per_group=2, stem_channels=8, base_channels=4
)
SMALL = dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
ALL = dict(
    cifar=CIFAR, resnet=RESNET, bottleneck=BOTTLENECK, deep=DEEP, resnext=RESNEXT, small=SMALL
)


def build(config):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(copy.deepcopy(config))


def evaluate(model, x):
    """mmpretrain's ``train`` returns nothing, so ``eval`` cannot be chained."""
    model.eval()
    return model(x)


def randomize(model):
    """Weights and statistics that differ everywhere, so that no norm is a plain copy."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def images(size=32):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('shared', [-1, 0, 1, 2])
@pytest.mark.parametrize('name', ALL)
def test_one_expert_of_full_width_is_the_plain_network(name, shared):
    torch.manual_seed(0)
    plain = randomize(build(ALL[name]))
    model = MultiExpertResNet(ALL[name], num_experts=1, shared_stages=shared)
    model.load_state_dict(multi_expert_weights(plain.state_dict(), 1, shared))
    assert parameters(model) == parameters(plain)
    for mode in (True, False):
        plain.train(mode)
        model.train(mode)
        expected, got = plain(images())[-1], model(images())
        assert len(got) == 1
        assert torch.equal(got[0][:, 0], expected)
    # Training has moved the running statistics, of both alike.
    back = plain_weights(model.state_dict(), 0)
    assert list(back) and set(back) == set(plain.state_dict())
    assert all(torch.equal(back[key], value) for key, value in plain.state_dict().items())


@pytest.mark.parametrize('shared', [-1, 0, 1])
@pytest.mark.parametrize('name', ['cifar', 'resnet', 'resnext'])
def test_each_expert_is_the_plain_network_with_its_weights(name, shared):
    torch.manual_seed(0)
    model = randomize(MultiExpertResNet(ALL[name], 3, shared)).eval()
    (features,) = model(images())
    assert features.shape[1:3] == (3, model.feat_dim)
    for expert in range(3):
        plain = build(ALL[name])
        plain.load_state_dict(plain_weights(model.state_dict(), expert))
        assert torch.equal(evaluate(plain, images())[-1], features[:, expert])
    assert not torch.equal(features[:, 0], features[:, 1])


@pytest.mark.parametrize('shared', [-1, 0, 1, 2])
def test_shared_parts_are_there_once_and_own_ones_once_per_expert(shared):
    plain = build(CIFAR)
    stem = parameters(plain.conv1) + parameters(plain.bn1)
    stages = [parameters(getattr(plain, f'layer{k}')) for k in (1, 2, 3)]
    parts = [stem, *stages]
    common, own = sum(parts[: shared + 1]), sum(parts[shared + 1 :])
    assert parameters(MultiExpertResNet(CIFAR, 4, shared)) == common + 4 * own


def test_gradients_reach_the_expert_asked_and_what_is_shared():
    torch.manual_seed(0)
    model = MultiExpertResNet(CIFAR, 3, shared_stages=1)
    model(images())[0][:, 1].square().sum().backward()
    assert all(p.grad.any() for p in model.shared.parameters())
    assert all(p.grad is not None for p in model.experts[1].parameters())
    for other in (0, 2):
        assert not any(p.grad.any() for p in model.experts[other].parameters())


def test_gradient_of_the_shared_part_is_the_sum_over_experts():
    torch.manual_seed(0)
    model = MultiExpertResNet(CIFAR, 2, shared_stages=1).double().eval()
    x = images().double()
    model(x)[0].square().sum().backward()
    got = model.shared.conv1.weight.grad.clone()
    expected = torch.zeros_like(got)
    for expert in range(2):
        plain = build(CIFAR).double()
        plain.load_state_dict(plain_weights(model.state_dict(), expert))
        evaluate(plain, x)[0].square().sum().backward()
        expected += plain.conv1.weight.grad
    torch.testing.assert_close(got, expected)


def test_the_published_widths_of_ride():
    cifar = MultiExpertResNet(dict(type='lt_mm.ResNetCifar6n2', depth=8), 2, 1, 0.75)
    assert cifar.experts[0].layer2[0].conv1.weight.shape == (24, 16, 3, 3)
    assert cifar.experts[1].layer3[0].conv1.weight.shape == (48, 24, 3, 3)
    assert cifar.shared.layer1[0].conv1.weight.shape == (16, 16, 3, 3)
    assert cifar.feat_dim == 48 and cifar(images())[0].shape == (2, 2, 48, 8, 8)
    imagenet = MultiExpertResNet(dict(type='ResNeXt', depth=50), 1, 2, 0.75)
    # Planes 192 and 384 for 256 and 512; 32 groups of 4 become 32 of 12 and of 24.
    first = imagenet.experts[0].layer3[0]
    assert first.conv1.in_channels == 512 and first.out_channels == 768
    assert first.conv2.in_channels == 384 and first.conv2.groups == 32
    assert imagenet.experts[0].layer4[-1].out_channels == imagenet.feat_dim == 1536
    assert imagenet.shared.layer2[-1].out_channels == 512


@pytest.mark.parametrize('shared', [-1, 0, 1])
@pytest.mark.parametrize('name', ['resnet', 'bottleneck', 'deep', 'small', 'resnext'])
def test_scaled_stages_run_and_have_the_widths_asked_for(name, shared):
    config = ALL[name]
    stages = 4 - max(shared, 0)
    factors = (
        [1.0, 1.5, 2.0, 3.0][:stages] if name == 'resnext' else [0.75, 0.5, 1.25, 1.3][:stages]
    )
    if name == 'resnext':
        factors[1] = 2
    model = MultiExpertResNet(config, 2, shared, factors)
    own = [f'layer{k}' for k in range(5 - stages, 5)]
    expansion = model.experts[0].expansion
    for layer, factor in zip(own, factors, strict=True):
        planes = round(config['base_channels'] * 2 ** (int(layer[-1]) - 1) * factor)
        for block in getattr(model.experts[1], layer):
            assert block.out_channels == planes * expansion
    assert model(images())[0].shape[:3] == (2, 2, model.feat_dim)
    plain = build(expert_backbone(config, shared, factors))
    plain.load_state_dict(plain_weights(model.state_dict(), 1))
    assert torch.equal(evaluate(plain, images())[-1], evaluate(model, images())[0][:, 1])


def test_a_stem_of_the_first_stages_width_narrows_with_it():
    model = MultiExpertResNet(CIFAR, 2, 0, (0.5, 1, 1))
    assert model.shared.conv1.out_channels == 2
    assert model.experts[0].layer1[0].conv1.in_channels == 2


def test_several_own_stages_can_be_asked_for():
    model = MultiExpertResNet({**RESNET, 'out_indices': (1, 3)}, 2, 1)
    shapes = [tuple(stage.shape) for stage in model(images())]
    assert shapes == [(2, 2, 16, 4, 4), (2, 2, 64, 1, 1)]


@pytest.mark.parametrize('config', [CIFAR, RESNET], ids=['cifar', 'resnet'])
@pytest.mark.parametrize('frozen', [0, 1, 2])
def test_frozen_stages_are_those_of_the_plain_network(config, frozen):
    model = MultiExpertResNet({**config, 'frozen_stages': frozen}, 2, shared_stages=1).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(images())[0].sum().backward()
    for name, parameter in model.named_parameters():
        plain = name.removeprefix('shared.').removeprefix('experts.0.').removeprefix('experts.1.')
        stage = int(plain[5]) if plain.startswith('layer') else 0
        assert parameter.requires_grad is (stage > frozen), name
        assert (parameter.grad is not None) is (stage > frozen), name
    for name, value in model.state_dict().items():
        if name.endswith('running_mean'):
            plain = name.replace('experts.0.', '').replace('experts.1.', '').replace('shared.', '')
            stage = int(plain[5]) if plain.startswith('layer') else 0
            assert torch.equal(value, before[name]) is (stage <= frozen), name


@pytest.mark.parametrize('config', [CIFAR, RESNET], ids=['cifar', 'resnet'])
def test_norm_eval_holds_for_shared_and_own_norms(config):
    model = MultiExpertResNet({**config, 'norm_eval': True}, 2).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    assert model.training and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize('config', [CIFAR, RESNET], ids=['cifar', 'resnet'])
def test_recomputed_blocks_give_the_same_gradients(config):
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = MultiExpertResNet({**config, 'with_cp': with_cp}, 2).eval()
        model(images())[0].square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('config', [CIFAR, RESNET], ids=['cifar', 'resnet'])
def test_initialised_as_the_plain_network_is_and_every_expert_otherwise(config):
    torch.manual_seed(1)
    plain = build(config)
    torch.manual_seed(0)
    plain.init_weights()
    model = MultiExpertResNet(config, 2)
    torch.manual_seed(0)
    model.init_weights()
    first, second = (plain_weights(model.state_dict(), e) for e in range(2))
    for name, value in plain.state_dict().items():
        assert torch.equal(first[name], value), name
    assert not torch.equal(first['layer3.0.conv1.weight'], second['layer3.0.conv1.weight'])
    if config is RESNET:
        assert not model.experts[1].layer4[0].bn2.weight.any()


def test_all_experts_start_from_a_checkpoint_of_the_plain_network(tmp_path):
    plain = randomize(build(RESNET))
    torch.save({f'backbone.{k}': v for k, v in plain.state_dict().items()}, tmp_path / 'plain.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'), prefix='backbone.')
    model = MultiExpertResNet({**RESNET, 'init_cfg': init}, 2, 2)
    model.init_weights()
    for expert in range(2):
        weights = plain_weights(model.state_dict(), expert)
        assert all(torch.equal(weights[k], v) for k, v in plain.state_dict().items())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_gives_the_features_of_full_precision_nearly(dtype):
    torch.manual_seed(0)
    model = MultiExpertResNet(CIFAR, 2).eval()
    with torch.autocast('cpu', dtype=dtype):
        half = model(images())[0]
    assert torch.allclose(half.float(), model(images())[0], rtol=0.1, atol=0.1)


def test_no_image_gives_no_features():
    model = MultiExpertResNet(CIFAR, 2).eval()
    assert model(torch.zeros(0, 3, 8, 8))[0].shape == (0, 2, 8, 2, 2)


def test_config_by_class_and_given_config_untouched():
    config = dict(type=ResNetCifar6n2, depth=8)
    before = copy.deepcopy(config)
    model = MultiExpertResNet(config, 2, 1, 0.5)
    assert config == before and type(model.experts[0]) is ResNetCifar6n2
    assert type(build(expert_backbone(RESNET))) is ResNet
    assert expert_backbone(RESNEXT, 2)['type'] is ResNeXt


def test_weights_of_an_expert_that_is_not_there():
    with pytest.raises(ValueError, match=r'expert is 2.*\[0, 1\]'):
        plain_weights(MultiExpertResNet(CIFAR, 2).state_dict(), 2)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(backbone=dict(type='LeNet5')), "'LeNet5'.*ResNeXt"),
        (dict(backbone=dict(type='NoSuchNet')), "'NoSuchNet'"),
        (dict(backbone=dict(depth=18)), 'None'),
        (dict(num_experts=0), 'num_experts is 0'),
        (dict(shared_stages=3), 'shared_stages is 3.*3 stages of ResNetCifar6n2'),
        (dict(shared_stages=-2), 'shared_stages is -2'),
        (dict(backbone=RESNET, shared_stages=4), '4 stages of ResNet'),
        (dict(width_factor=0), 'width_factor is 0'),
        (dict(width_factor=(1, 1, 1)), r'\(1, 1, 1\).*2 stages'),
        (dict(width_factor=(1, -1)), r'\(1, -1\)'),
        (dict(backbone={**RESNET, 'out_indices': (0, 3)}), r'\(0, 3\).*below 1'),
        (dict(backbone=RESNEXT, width_factor=0.7), '6 planes with the factor 0.7.*multiple of 4'),
        (dict(backbone={**RESNET, 'type': 'SEResNet', 'depth': 50}, width_factor=0.5), 'SEResNet'),
        (dict(width_factor=(2, 1)), "12 channels to 8.*shortcut='B'"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiExpertResNet(**{'backbone': CIFAR, 'num_experts': 2, **arguments})


def test_stage_factors_of_another_number():
    with pytest.raises(ValueError, match=r'stage_factors of ScaledResNet are \(1, 1\).*4 stages'):
        build({**RESNET, 'type': 'lt_mm.ScaledResNet', 'stage_factors': (1, 1)})
