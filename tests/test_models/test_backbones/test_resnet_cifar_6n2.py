import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from lt_mm.models.backbones import ResNetCifar6n2
from lt_mm.models.shipped.resnet_cifar_6n2 import ZeroPaddingShortcut

# Depth: parameters with a classifier of ten classes, printed as 0.27M, 0.46M, ... by He et al.,
# table 6; the exact numbers are those of the nets' usual PyTorch port.
PUBLISHED = {20: 269722, 32: 464154, 44: 658586, 56: 853018, 110: 1727962}


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def formula(depth, widths, in_channels, shortcut):
    n = (depth - 2) // 6
    total = 9 * in_channels * widths[0] + 2 * widths[0]
    before = widths[0]
    for stage, width in enumerate(widths):
        for block in range(n):
            total += 9 * before * width + 2 * width + 9 * width * width + 2 * width
            if shortcut == 'B' and stage > 0 and block == 0:
                total += before * width + 2 * width
            before = width
    return total


@pytest.mark.parametrize('depth', PUBLISHED)
def test_parameters_are_those_published(depth):
    assert parameters(ResNetCifar6n2(depth)) + 64 * 10 + 10 == PUBLISHED[depth]


@pytest.mark.parametrize('shortcut', ['A', 'B'])
@pytest.mark.parametrize('widths', [(16, 32, 64), (16, 24, 48), (5, 8, 8)])
@pytest.mark.parametrize('in_channels', [1, 3])
def test_parameters_of_other_widths_and_shortcuts(shortcut, widths, in_channels):
    net = ResNetCifar6n2(14, in_channels, widths, shortcut)
    assert parameters(net) == formula(14, widths, in_channels, shortcut)


@pytest.mark.parametrize('depth', [8, 20, 32])
def test_layers_on_the_longest_path_are_the_depth(depth):
    net = ResNetCifar6n2(depth)
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) + 1 == depth  # the classifier is the last one


@pytest.mark.parametrize('shortcut', ['A', 'B'])
@pytest.mark.parametrize('size', [32, 28, 17, 8])
def test_output_shapes(shortcut, size):
    net = ResNetCifar6n2(8, widths=(4, 7, 12), shortcut=shortcut, out_indices=(2, 0, 1))
    half = (size + 1) // 2
    quarter = (half + 1) // 2
    shapes = [tuple(out.shape) for out in net(torch.rand(2, 3, size, size))]
    assert shapes == [(2, 4, size, size), (2, 7, half, half), (2, 12, quarter, quarter)]
    assert net.feat_dim == 12


def test_only_the_last_stage_by_default():
    outs = ResNetCifar6n2(8)(torch.rand(1, 3, 8, 8))
    assert [tuple(out.shape) for out in outs] == [(1, 64, 2, 2)]


def naive_shortcut(x, out_channels):
    """Pixel by pixel: even rows and columns, zeros half before and half after the channels."""
    n, channels, height, width = x.shape
    out = torch.zeros(n, out_channels, (height + 1) // 2, (width + 1) // 2, dtype=x.dtype)
    before = (out_channels - channels) // 2
    for c in range(channels):
        for i in range(0, height, 2):
            for j in range(0, width, 2):
                out[:, before + c, i // 2, j // 2] = x[:, c, i, j]
    return out


@pytest.mark.parametrize('channels', [(16, 32), (16, 24), (3, 6), (4, 4)])
def test_zero_padding_shortcut_equals_pixel_by_pixel(channels):
    x = torch.rand(2, channels[0], 7, 6)
    got = ZeroPaddingShortcut(*channels, stride=2)(x)
    assert torch.equal(got, naive_shortcut(x, channels[1]))


def test_zero_padding_of_the_published_widths_is_a_quarter_on_each_side():
    assert ZeroPaddingShortcut(16, 32, 2).padding == (8, 8)
    assert ZeroPaddingShortcut(32, 64, 2).padding == (16, 16)


def naive_norm(x, norm):
    shape = (1, -1, 1, 1)
    mean, var = norm.running_mean.view(shape), norm.running_var.view(shape)
    scaled = (x - mean) / (var + norm.eps).sqrt()
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def naive_net(net, x, shortcut):
    """The net by its weights' names alone."""
    x = naive_norm(F.conv2d(x, net.conv1.weight, padding=1), net.bn1).clamp(min=0)
    for stage in (1, 2, 3):
        for index, block in enumerate(getattr(net, f'layer{stage}')):
            halves = stage > 1 and index == 0
            y = F.conv2d(x, block.conv1.weight, stride=2 if halves else 1, padding=1)
            y = naive_norm(y, block.bn1).clamp(min=0)
            y = naive_norm(F.conv2d(y, block.conv2.weight, padding=1), block.bn2)
            if halves and shortcut == 'A':
                x = naive_shortcut(x, y.shape[1])
            elif halves:
                conv, norm = block.downsample
                x = naive_norm(F.conv2d(x, conv.weight, stride=2), norm)
            x = (x + y).clamp(min=0)
    return x


@pytest.mark.parametrize('shortcut', ['A', 'B'])
def test_forward_equals_a_naive_restatement(shortcut):
    torch.manual_seed(0)
    net = ResNetCifar6n2(14, widths=(4, 6, 10), shortcut=shortcut).double()
    net.init_weights()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    net.eval()
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    assert torch.allclose(net(x)[0], naive_net(net, x, shortcut), rtol=1e-10, atol=1e-10)


def test_initialisation_is_kaiming_over_the_fan_in_and_no_norm_is_zeroed():
    torch.manual_seed(0)
    net = ResNetCifar6n2(20)
    net.init_weights()
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_in = module.in_channels * 9
            assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.12)
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.weight.eq(1).all() and module.bias.eq(0).all()


def test_weights_have_the_names_of_the_public_resnet32():
    names = set(ResNetCifar6n2(32).state_dict())
    for name in ('conv1.weight', 'bn1.running_mean', 'layer1.0.conv1.weight', 'layer3.4.bn2.bias'):
        assert name in names
    assert not [name for name in names if 'downsample' in name]


@pytest.mark.parametrize('frozen', [-1, 0, 1, 2, 3])
def test_frozen_stages_keep_weights_and_statistics(frozen):
    net = ResNetCifar6n2(8, widths=(4, 6, 8), shortcut='B', frozen_stages=frozen)
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    out = net(torch.randn(4, 3, 8, 8))[0]
    if frozen < 3:
        out.square().mean().backward()
    assert out.requires_grad is (frozen < 3)
    for parameter in net.parameters():
        if parameter.grad is not None:
            parameter.data -= parameter.grad
    fixed = {-1: (), 0: ('conv1', 'bn1')}.get(
        frozen, ('conv1', 'bn1', *(f'layer{k + 1}' for k in range(frozen)))
    )
    for name, value in net.state_dict().items():
        same = torch.equal(value, before[name])
        assert same is (name.split('.')[0] in fixed), name


def test_norm_eval_keeps_the_statistics_but_trains_the_weights():
    net = ResNetCifar6n2(8, norm_eval=True).train()
    before = net.bn1.running_mean.clone()
    net(torch.randn(2, 3, 8, 8))[0].sum().backward()
    assert torch.equal(net.bn1.running_mean, before)
    assert net.bn1.weight.grad is not None and net.layer1.training
    assert net.eval().training is False


def test_norm_and_convolution_by_config():
    net = ResNetCifar6n2(
        8,
        shortcut='B',
        norm_cfg=dict(type='GN', num_groups=2),
        conv_cfg=dict(type='Conv2dAdaptivePadding'),
    )
    kinds = {type(m).__name__ for m in net.modules()}
    assert {'GroupNorm', 'Conv2dAdaptivePadding'} <= kinds
    assert not {'BatchNorm2d', 'Conv2d'} & kinds


def test_recomputed_blocks_give_the_same_gradients():
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        net = ResNetCifar6n2(8, with_cp=with_cp).eval()
        net(torch.ones(1, 3, 8, 8))[0].sum().backward()
        grads.append([p.grad for p in net.parameters()])
    assert all(torch.allclose(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(depth=18), 'depth is 18'),
        (dict(depth=2), 'depth is 2'),
        (dict(depth=20, widths=(16, 32)), r'\(16, 32\)'),
        (dict(depth=20, widths=(0, 8, 8)), r'\(0, 8, 8\)'),
        (dict(depth=20, widths=(16, 32, 24)), "32 channels to 24.*shortcut='B'"),
        (dict(depth=20, shortcut='C'), "'C'"),
        (dict(depth=20, out_indices=(3,)), r'\(3,\)'),
        (dict(depth=20, out_indices=()), r'\(\)'),
        (dict(depth=20, frozen_stages=4), 'frozen_stages is 4'),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNetCifar6n2(**arguments)


def test_falling_widths_are_fine_with_convolutions():
    net = ResNetCifar6n2(8, widths=(8, 12, 6), shortcut='B')
    assert net(torch.rand(1, 3, 8, 8))[0].shape == (1, 6, 2, 2)


def test_mmpretrains_own_cifar_net_is_left_alone():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        theirs = MMENGINE_MODELS.build(dict(type='ResNet_CIFAR', depth=18))
        ours = MMENGINE_MODELS.build(dict(type='lt_mm.ResNetCifar6n2', depth=20))
    assert type(theirs) is ResNet_CIFAR and type(ours) is ResNetCifar6n2


def test_trains_in_mmpretrains_classifier():
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(type='lt_mm.ResNetCifar6n2', depth=20),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=10, in_channels=64),
            )
        )
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(8, 3, 32, 32)
    samples = [DataSample().set_gt_label(label) for label in range(8)]
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(images, samples, mode='loss')['loss']
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    scores = model.eval()(images, samples, mode='predict')[0].pred_score
    assert scores.shape == (10,)
