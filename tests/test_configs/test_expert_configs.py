"""The configs of several experts have the settings of their papers, build, and take a step."""

import re
from math import ceil

import numpy as np
import pytest
import torch
from config_files import FILES, earlier, load, path_of, stages_of
from mmcv.transforms import Compose
from mmengine.config import ConfigDict
from mmengine.dataset import default_collate
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

from lt_mm import registry
from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

NAMES = [
    name
    for name in FILES
    if re.match(r'(cifar_lt|imagenet_lt|inaturalist2018)/(mutual|ncl|reslt|ride|sade)', name)
]
CLASSES = dict(cifar100=100, imagenet=1000, inaturalist2018=8142)

# Learning rate, batch, weight decay, epochs and last schedule of the method on its data.
# Mutual learning: Table A1 of its supplement. Others: their public configs.
STEPS, FAR_STEPS = ('MultiStepLR', [160, 180], 0.1), ('MultiStepLR', [160, 180], 0.01)
SETTINGS = {
    'mutual cifar100': (0.1, 128, 5e-4, 200, STEPS),
    'mutual imagenet': (0.025, 64, 5e-4, 180, ('CosineAnnealingLR', 180, 0.0)),
    'mutual inaturalist2018': (0.1, 256, 1e-4, 200, ('CosineAnnealingLR', 200, 0.0)),
    'ride cifar100': (0.1, 128, 5e-4, 200, FAR_STEPS),
    'ride imagenet': (0.1, 256, 2e-4, 100, ('MultiStepLR', [60, 80], 0.1)),
    'routed cifar100': (0.01, 512, 5e-4, 5, ('CosineAnnealingLR', 5, 0.0)),
    'routed imagenet': (0.01, 512, 5e-4, 5, ('CosineAnnealingLR', 5, 0.0)),
    'sade cifar100': (0.1, 128, 5e-4, 200, STEPS),
    'sade imagenet': (0.025, 64, 5e-4, 180, ('CosineAnnealingLR', 180, 0.0)),
    'ncl cifar100': (0.1, 64, 2e-4, 400, ('MultiStepLR', [320, 360], 0.1)),
    'ncl imagenet': (0.2, 256, 2e-4, 200, ('CosineAnnealingLR', 200, 1e-4)),
    'reslt cifar100': (0.1, 128, 5e-4, 200, STEPS),
    'reslt imagenet': (0.1, 256, 5e-4, 180, ('CosineAnnealingLR', 180, 0.0)),
}


def method_and_data(name):
    method, _, data, _ = name.split('/')[1].split('_')
    method = 'routed' if 'routed' in method else method.split('-')[0]
    return method, data.split('-')[0]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


@pytest.mark.parametrize('name', NAMES)
def test_settings(name):
    cfg, (method, data) = load(name), method_and_data(name)
    rate, batch, decay, epochs, schedule = SETTINGS[f'{method} {data}']
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.momentum) == ('SGD', rate, 0.9)
    assert optimizer.weight_decay == decay
    plain = method == 'mutual' or (method, data) == ('reslt', 'imagenet')
    assert optimizer.get('nesterov', False) == (not plain)
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert batch % cfg.train_dataloader.batch_size == 0
    assert cfg.train_cfg.max_epochs == epochs == int(name.rsplit('_', 1)[1][:-1])
    last = cfg.param_scheduler[-1]
    steps = last.type == 'MultiStepLR'
    found = (last.milestones, last.gamma) if steps else (last.end, last.eta_min)
    assert (last.type, *found) == schedule
    warm_up = {len(cfg.param_scheduler) == 2 and cfg.param_scheduler[0].end}
    with_it = 'cifar' in data or method in ('ride', 'reslt')
    wanted = (20 if 'ride-kd_r32' in name else 5) if with_it and method != 'routed' else False
    # NCL begins one step lower and so takes one more.
    wanted += method == 'ncl' and 'cifar' in data
    assert warm_up == {wanted}


def test_branches_of_reslt_come_before_the_pooling():
    for name, branch in (
        ('cifar_lt/reslt_r32_cifar100-lt_200e', 'norm'),
        ('imagenet_lt/reslt_x50_imagenet-lt_180e', 'conv'),
    ):
        model = load(name).model
        assert model.neck is None and model.head.branch == branch


# Of the rate, in the first epochs. The public code of ResLT counts from 1, that of NCL from 0.
@pytest.mark.parametrize(
    ('name', 'factors'),
    [
        ('cifar_lt/reslt_r32_cifar100-lt_200e', [7, 9, 11, 13, 15, 15]),
        ('cifar_lt/ncl_r32_cifar100-lt_400e', [5, 7, 9, 11, 13, 15, 15]),
    ],
)
def test_warm_up_begins_at_a_third(name, factors):
    cfg = load(name)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(each, optimizer=optimizer)) for each in cfg.param_scheduler
    ]
    rates = []
    for _ in factors:
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates == pytest.approx([0.1 * factor / 15 for factor in factors])


def test_the_printed_weight_decay_of_inaturalist_is_spoken_of():
    assert '1e-1' in path_of('inaturalist2018/mutual_r50_inaturalist2018_200e').read_text()


@pytest.mark.parametrize('name', NAMES)
def test_name_tells_what_it_is(name):
    cfg, (method, data) = load(name), method_and_data(name)
    assert cfg.model.head.num_classes == CLASSES[data]
    own = {'routed': ['LongTailAccuracy', 'CalibrationError', 'ExpertUsage']}
    own['reslt'] = own['routed'][:2]
    metrics = own.get(method, ['ExpertAccuracy', 'CalibrationError'])
    assert [each.type for each in cfg.test_evaluator] == [f'lt_mm.{each}' for each in metrics]
    assert bool(cfg.model.head.get('expert_predictions')) == (method not in own)


def times(name):
    """The public code of RIDE adds all losses once an expert where it distils."""
    if '/ride-kd_' not in name:
        return 1
    return 3 if name.startswith('cifar_lt/') else 4


@pytest.mark.parametrize('name', [name for name in NAMES if '/reslt' not in name])
def test_interplay_and_losses_are_those_of_the_method(name):
    head, (method, data) = load(name).model.head, method_and_data(name)
    interplay = dict(head.interplay) if head.get('interplay') else {}
    losses = head.get('loss')
    adjusted = 'lt_mm.LogitAdjustedLoss'
    assert (head.get('post_compensation') == {}) == (method == 'mutual')
    cosine = {'mutual': None, 'ncl': 16 if data == 'imagenet' else None}.get(method, 30)
    assert head.get('classifier', 'linear') == ('cosine' if cosine else 'linear')
    if cosine:
        assert head.classifier_temperature == pytest.approx(1 / cosine)
        # Of the committed results.
        assert head.init_cfg == dict(type='Normal', std=0.01, override=dict(name='fc'))
    if method == 'mutual':
        assert interplay == dict(type='lt_mm.MutualLoss')
        assert losses == dict(type=adjusted, alpha=0.0)
    if method in ('ride', 'routed'):
        factor, weight = (0.05, -0.45) if data == 'cifar100' else (0.02, -0.2)
        weight *= times(name)
        expected = dict(type='lt_mm.DiversityLoss', class_factor=factor, loss_weight=weight)
        assert interplay == expected and losses.type == 'lt_mm.LDAMLoss' and losses.scale == 30
        assert losses.class_weight == dict(type='effective_number', beta=0.9999)
        assert losses.average == 'weights' and losses.get('loss_weight', 1) == times(name)
    if method == 'ride':
        (deferred,) = [h for h in load(name).custom_hooks if h.type == 'lt_mm.DeferredHook']
        assert deferred.begin == (160 if data == 'cifar100' else 80)
    if method == 'sade':
        own = [expert.loss for expert in head.experts]
        assert [(loss.type, loss.alpha, loss.get('backward', 0)) for loss in own] == [
            (adjusted, 0, 0),
            (adjusted, 1, 0),
            (adjusted, 1, 2),
        ]
        assert not interplay
    if method == 'ncl':
        hard = 30 if data == 'cifar100' else 300
        assert interplay == dict(type='lt_mm.HardCategoryLoss', num_hard=hard, detach=False)
        assert losses == dict(type=adjusted, alpha=1.0)


def test_aggregation_is_all_that_aggregated_configs_add():
    for name, rate in (
        ('cifar_lt/{}_r32_cifar100-lt_200e', 0.1),
        ('imagenet_lt/{}_x50_imagenet-lt_180e', 0.025),
    ):
        plain, cfg = load(name.format('sade')), load(name.format('sade-aggregated'))
        assert cfg.model == plain.model and cfg.train_dataloader == plain.train_dataloader
        *others, hook = cfg.custom_hooks
        assert others == plain.custom_hooks
        hook = registry.HOOKS.build(hook)
        assert (hook.max_epochs, hook.min_weight, hook.optimizer['lr']) == (5, 0.05, rate)
        assert hook.by_epoch and hook.dataloader is None
        assert cfg.test_dataloader.batch_size == 128


# Its training jitters mildly or not at all, and turns the images of CIFAR.
@pytest.mark.parametrize(
    ('name', 'crop', 'blurred'),
    [
        ('cifar_lt/sade-aggregated_r32_cifar100-lt_200e', ('RandomCrop', 4), 0.2),
        ('imagenet_lt/sade-aggregated_x50_imagenet-lt_180e', ('RandomResizedCrop', (0.2, 1)), 0.5),
    ],
)
def test_views_of_the_aggregation_are_its_own(name, crop, blurred):
    steps = load(name).custom_hooks[-1].pipeline
    first, flip, jitter, gray, blur, _ = [s for s in steps if s.type != 'LoadImageFromFile']
    assert (first.type, first.get('padding') or first.crop_ratio_range) == crop
    assert (flip.type, flip.prob) == ('RandomFlip', 0.5)
    assert (jitter.type, jitter.prob) == ('RandomApply', 0.8)
    amounts = dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    assert jitter.transforms == [dict(type='ColorJitter', **amounts)]
    assert (gray.type, gray.prob) == ('RandomGrayscale', 0.2)
    assert (blur.type, blur.prob, blur.magnitude_range) == ('GaussianBlur', blurred, (0.1, 2))
    view = Compose([step for step in steps if step.type != 'LoadImageFromFile'])
    image = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    assert view(dict(img=image, gt_label=0))['inputs'].shape[1] == (32 if 'cifar' in name else 224)


@pytest.mark.parametrize('name', [name for name in NAMES if load(name).get('earlier_stages')])
def test_stages_of_ride(name, tmp_path):
    cfg = load(name)
    *before, last = stages_of(name, tmp_path)
    routed, distilled = 'routed' in name, '-kd' in name
    wanted = [('teacher', 'teacher')] * distilled
    if routed:
        wanted = [(f'stage1/{stage}', gives) for stage, gives in wanted] + [('stage1', 'weights')]
    assert [(stage.name, stage.gives) for stage in before] == wanted
    assert all(s.cfg.train_dataloader.dataset == cfg.train_dataloader.dataset for s in before)
    if routed:
        first = before[-1].cfg.model
        assert first.backbone == last.cfg.model.backbone
        assert first.head.experts == last.cfg.model.head.experts
        assert cfg.train_dataloader.sampler.type == 'lt_mm.ClassBalancedSampler'
        assert cfg.model.head.routers.top_k == (30 if 'cifar' in name else 50)
        assert cfg.model.head.pos_weight == 100
    if distilled:
        teacher = before[0].cfg.model
        assert len(teacher.head.experts) == teacher.backbone.num_experts == 6
        # RIDE of ImageNet-LT that is distilled has four experts in the authors' table.
        number = 4 if 'imagenet' in name else 3
        assert len(last.cfg.model.head.experts) == last.cfg.model.backbone.num_experts == number
    if distilled and not routed:
        expected = dict(type='lt_mm.KDLoss', temperature=1.5, loss_weight=number)
        assert cfg.model.head.distillation == expected


def public_loss_of_ride(logits, labels, teacher, counts, deferred, factor, weight):
    """RIDE with distillation as its public code sums it, written out in float64."""
    experts, classes = logits.shape[0], len(counts)
    margins = [n**-0.25 for n in counts]
    margins = [0.5 * m / max(margins) for m in margins]
    effective = [(1 - 0.9999) / (1 - 0.9999**n) for n in counts]
    of_class = [w / sum(effective) * classes if deferred else 1.0 for w in effective]
    warm = [classes * n / sum(counts) * factor + 1 - factor for n in counts]
    warm = torch.tensor([w / max(warm) if deferred else 1.0 for w in warm]).double()
    mean = logits.mean(0)
    own = 0
    for z in logits:
        costs = []
        for row, y in zip(z, labels.tolist(), strict=True):
            row = row.clone()
            row[y] -= 30 * margins[y]
            costs.append(-of_class[y] * row.log_softmax(0)[y])
        own = own + sum(costs) / sum(of_class[y] for y in labels.tolist())
        p, q = (mean / warm).softmax(1), (z / warm).softmax(1)
        divergence = (p * (p / q).log()).sum() / len(z)
        own = own + weight * warm.mean() ** 2 * divergence
    p, q = (teacher / 1.5).softmax(1), (mean / 1.5).softmax(1)
    distilled = 1.5**2 * (p * (p / q).log()).sum() / len(mean)
    return sum(own + distilled for _ in range(experts))


@pytest.mark.parametrize('deferred', [False, True])
@pytest.mark.parametrize(
    ('name', 'factor', 'weight'),
    [
        ('cifar_lt/ride-kd_r32_cifar100-lt_200e', 0.05, -0.45),
        ('imagenet_lt/ride-kd_x50_imagenet-lt_100e', 0.02, -0.2),
    ],
)
def test_distilled_ride_has_the_loss_of_its_public_code(name, factor, weight, deferred):
    head = ConfigDict(load(name).model.head.to_dict())
    head.update(num_classes=10, in_channels=4)
    head = MODELS.build(head)
    counts = [500, 300, 200, 100, 60, 40, 20, 10, 6, 5]
    set_class_counts(head, ClassCounts(counts, unit='images'))
    for module in head.modules():
        if hasattr(module, 'set_deferred'):
            module.set_deferred(deferred)
    torch.manual_seed(0)
    logits = 3 * torch.randn(len(head.experts), 8, 10, dtype=torch.float64)
    teacher = 3 * torch.randn(8, 10, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 2, 5, 8, 9])
    losses = head.losses_of(logits, labels)
    losses['loss_kd'] = head.distillation(head.aggregate(logits), teacher)
    assert len(losses) == len(logits) + 2
    expected = public_loss_of_ride(logits, labels, teacher, counts, deferred, factor, weight)
    assert sum(losses.values()).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.fixture
def uninitialised(monkeypatch):
    """Leave weights as the memory has them: building a large model is then a matter of moments."""
    for layer in (nn.modules.conv._ConvNd, nn.Linear):
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)


def build(cfg):
    model = ConfigDict(cfg.model.to_dict())
    model.data_preprocessor = cfg.data_preprocessor.to_dict()
    return MODELS.build(model).train()


LARGE = [name for name in NAMES if '_r32_' not in name and 'aggregated' not in name]


@pytest.mark.parametrize('name', LARGE)
def test_large_models_build(name, uninitialised):
    cfg, (method, _) = load(name), method_and_data(name)
    model = build(cfg)
    classes, width = cfg.model.head.num_classes, cfg.model.head.in_channels
    assert any(hasattr(module, 'set_class_counts') for module in model.modules())
    if method == 'reslt':
        assert model.head.fc.weight.shape == (classes, width) and len(model.head.branches) == 3
        return
    assert model.backbone.feat_dim == width == (2048 if method == 'ncl' else 1536)
    assert len(model.backbone.experts) == len(model.head.experts)
    assert all(expert.fc.weight.shape == (classes, width) for expert in model.head.experts)


STEP = [
    name
    for name in NAMES
    if name.startswith('cifar_lt/') and 'aggregated' not in name and '-six' not in name
]
LOGGED = dict(
    mutual={'expert2.loss_cls', 'loss_mutual'},
    ride={'expert2.loss_cls', 'loss_diversity'},
    routed={'loss_routing'},
    sade={'expert0.loss_cls', 'expert1.loss_cls', 'expert2.loss_cls'},
    ncl={'expert2.loss_cls', 'loss_hard_cls', 'loss_mutual', 'loss_hard_mutual'},
    reslt={'loss_branches', 'loss_fused'},
)


@pytest.mark.parametrize('name', STEP)
def test_cifar_models_take_a_step(name, tmp_path):
    """From pixels to the gradients of all that is trained."""
    cfg, (method, _) = load(name), method_and_data(name)
    if cfg.model.get('teacher') is not None:
        teacher = load(earlier(name, 'teacher'))
        torch.save(build(teacher).state_dict(), tmp_path / 'teacher.pth')
        cfg.model.teacher = dict(config=teacher.model, checkpoint=str(tmp_path / 'teacher.pth'))
    model = build(cfg)
    model.init_weights()
    counts = ClassCounts([ceil(500 * 0.95**c) for c in range(100)], unit='images')
    set_class_counts(model, counts)
    pipeline = Compose(cfg.train_dataloader.dataset.pipeline)
    images = np.random.default_rng(0).integers(256, size=(4, 32, 32, 3), dtype=np.uint8)
    # Labels of the first, second and third group of ResLT.
    samples = [
        pipeline(dict(img=image, gt_label=30 * i, sample_idx=i)) for i, image in enumerate(images)
    ]
    data = model.data_preprocessor(default_collate(samples), training=True)
    assert data['inputs'].shape == (4, 3, 32, 32)
    total, logged = model.parse_losses(model(**data, mode='loss'))
    total.backward()
    assert total.isfinite() and LOGGED[method] <= logged.keys()
    assert ('loss_kd' in logged) == ('ride-kd_' in name)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # DistributedDataParallel would stop at the first that is left out.
    assert trained and all(parameter.grad is not None for parameter in trained)
    model.eval()
    with torch.no_grad():
        (sample, *_) = model(**data, mode='predict')
    experts = sample.get('expert_scores')
    assert experts is None or experts.shape == (3, 100)
    assert (experts is None) == (method in ('routed', 'reslt'))


def test_images_are_turned_by_up_to_15_degrees_with_black_corners():
    (turn,) = [
        step
        for step in load('cifar_lt/ride_r32_cifar100-lt_200e').train_dataloader.dataset.pipeline
        if step.type == 'Rotate'
    ]
    rotate = Compose([turn]).transforms[0]
    angles = [rotate.random_negative(rotate.random_magnitude()) for _ in range(300)]
    assert -15 <= min(angles) < -12 and 12 < max(angles) <= 15
    turned = rotate(dict(img=np.full((32, 32, 3), 255, dtype=np.uint8)))['img']
    assert set(np.unique(turned)) <= {0, 255}
