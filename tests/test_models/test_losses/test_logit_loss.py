"""Every loss of logits, called as mmsegmentation and as mmpretrain call it."""

import pytest
import torch
from mmengine.registry import init_default_scope
from torch.nn import functional as F

import lt_mm.models.losses
from lt_mm.structures import ClassCounts

COUNTS = [700, 200, 100]
NAMES = {
    'LogitAdjustedLoss': {},
    'WeightedCrossEntropyLoss': dict(class_weight=dict(type='inverse', power=0.5)),
    'FocalLoss': {},
    'LDAMLoss': {},
    'LabelAwareSmoothingLoss': {},
    'LADELoss': {},
    'SeesawLoss': {},
}
LOSSES = {
    **{name: (name, options) for name, options in NAMES.items()},
    'sigmoid focal': ('FocalLoss', dict(use_sigmoid=True, alpha=0.3)),
    'seesaw seen': ('SeesawLoss', dict(num_classes=3)),
    'ldam class-balanced': ('LDAMLoss', dict(class_weight=dict(type='effective_number'))),
    'focal class-balanced': ('FocalLoss', dict(class_weight=dict(type='effective_number'))),
    'seesaw weighted': ('SeesawLoss', dict(class_weight=[1.0, 2.0, 3.0], average='weights')),
    'smoothing all': ('LabelAwareSmoothingLoss', dict(share='all', shape='convex')),
}


def make(name, counts=COUNTS, **more):
    kind, options = LOSSES[name]
    loss = getattr(lt_mm.models.losses, kind)(**{**options, **more})
    # What was counted must not depend on the calls of a test.
    loss.eval()
    if counts:
        loss.set_class_counts(ClassCounts(counts))
    return loss


@pytest.fixture(params=LOSSES)
def name(request):
    torch.manual_seed(0)
    return request.param


@pytest.mark.parametrize('scope', ['mmseg', 'mmpretrain'])
@pytest.mark.parametrize('kind', NAMES)
def test_builds_under_both_scopes_without_custom_imports(scope, kind):
    init_default_scope(scope)
    registry = pytest.importorskip(f'{scope}.registry').MODELS
    loss = registry.build(dict(type=f'lt_mm.{kind}', **NAMES[kind]))
    assert type(loss).__module__.startswith('lt_mm.') and loss.loss_name == 'loss_cls'


def test_pixels_are_images_in_another_order(name):
    pixels, target = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    images = pixels.movedim(1, -1).reshape(-1, 3)
    loss = make(name)
    torch.testing.assert_close(
        loss(pixels, target, weight=None, ignore_index=255),
        loss(images, target.flatten(), avg_factor=40),
    )


@pytest.mark.parametrize('ignore_index', [255, -100, 1])
def test_ignored_pixels_are_as_if_they_were_not_there(name, ignore_index):
    logits, target = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randint(3, (2, 4, 5))
    target[0, :2] = ignore_index
    loss = make(name)
    result = loss(logits, target, ignore_index=ignore_index)
    kept = target != ignore_index
    torch.testing.assert_close(result, loss(logits.movedim(1, -1)[kept], target[kept]))
    result.backward()
    gradient = logits.grad.movedim(1, -1)
    assert (gradient[~kept] == 0).all() and (gradient[kept] != 0).any(-1).all()


@pytest.mark.parametrize('shape', [(0, 3), (2, 3, 4, 4)])
def test_nothing_to_learn_from_is_a_zero_with_a_graph(name, shape):
    logits = torch.randn(shape, requires_grad=True)
    target = torch.full((shape[0], *shape[2:]), 255)
    loss = make(name).train()(logits, target, ignore_index=255)
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()
    soft = make(name).train()(torch.zeros(0, 3), torch.zeros(0, 3))
    assert soft == 0


def test_soft_targets_that_are_hard(name):
    logits, target = torch.randn(8, 3), torch.randint(3, (8,))
    loss = make(name)
    torch.testing.assert_close(
        loss(logits, F.one_hot(target, 3).float(), avg_factor=8), loss(logits, target, avg_factor=8)
    )


def test_mixup_is_the_mixture_of_both_losses(name):
    """lambda L(a) + (1 - lambda) L(b), of each element."""
    if name == 'LADELoss':
        pytest.skip('its regulariser belongs to a batch')
    logits, first, second = torch.randn(8, 3), torch.randint(3, (8,)), torch.randint(3, (8,))
    soft = 0.3 * F.one_hot(first, 3) + 0.7 * F.one_hot(second, 3)
    loss = make(name)
    torch.testing.assert_close(
        loss(logits, soft, reduction_override='none'),
        0.3 * loss(logits, first, reduction_override='none')
        + 0.7 * loss(logits, second, reduction_override='none'),
    )


def test_weights_of_elements_and_reductions(name):
    """As OHEM's pixel sampler uses a loss: first for each pixel, then with a map of weights."""
    logits, target = torch.randn(2, 3, 2, 2), torch.randint(3, (2, 2, 2))
    target[0, 0] = 255
    loss = make(name, loss_weight=2.0)
    if name == 'LADELoss':
        with pytest.raises(ValueError, match="use 'mean', and no pixel sampler"):
            loss(logits, target, reduction_override='none')
        return
    each = loss(logits, target, reduction_override='none', ignore_index=255)
    assert each.shape == (2, 2, 2) and (each[0, 0] == 0).all() and (each[1] > 0).all()
    weight = torch.rand(2, 2, 2)
    total = loss(logits, target, weight=weight, reduction_override='sum', ignore_index=255)
    torch.testing.assert_close(total, (each * weight).sum())
    if loss.average == 'elements':
        torch.testing.assert_close(
            loss(logits, target, weight=weight, ignore_index=255), (each * weight).sum() / 6
        )
        torch.testing.assert_close(
            loss(logits, target, avg_factor=5, ignore_index=255), each.sum() / 5
        )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(name, dtype):
    logits = (8 * torch.randn(6, 3)).to(dtype).requires_grad_()
    for target in (torch.randint(3, (6,)), torch.rand(6, 3).softmax(1).to(dtype)):
        result = make(name)(logits, target)
        wide = target.float() if target.is_floating_point() else target
        torch.testing.assert_close(result, make(name)(logits.float(), wide))
        assert result.dtype == torch.float32
        result.backward()
        assert logits.grad.isfinite().all()


def test_gradcheck(name):
    if name.startswith(('SeesawLoss', 'seesaw')):
        pytest.skip('its compensation is held fixed: see test_seesaw.py')
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    loss, target = make(name), torch.tensor([0, 2, 255, 1])
    assert torch.autograd.gradcheck(lambda z: loss(z, target, ignore_index=255), (logits,))


def test_absent_class_with_and_without_its_label(name):
    loss = make(name, counts=[10**9, 0, 1])
    for target in (torch.tensor([0, 2, 2, 0]), torch.tensor([1, 1, 1, 1])):
        logits = torch.randn(4, 3, requires_grad=True)
        result = loss(logits, target)
        result.backward()
        assert result.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize('kind', NAMES)
def test_a_softmax_over_one_class_is_refused(kind):
    """It is always 1, and the loss 0."""
    message = 'nothing would be learnt; set num_classes=2 and out_channels=2, .*use_sigmoid=True'
    with pytest.raises(ValueError, match=message):
        make(kind, counts=[5])
    for counts in (None, COUNTS[:2]):
        with pytest.raises(ValueError, match=message):
            make(kind, counts=counts)(torch.randn(4, 1), torch.zeros(4, dtype=torch.int64))


def test_checkpoint_restores_the_loss(name):
    fresh = make(name, counts=None)
    fresh.load_state_dict(make(name).state_dict())
    logits, target = torch.randn(5, 3), torch.randint(3, (5,))
    torch.testing.assert_close(fresh(logits, target), make(name)(logits, target))


def test_labels_and_soft_targets_that_do_not_fit(name):
    with pytest.raises(ValueError, match=f'label 255 reached {LOSSES[name][0]}'):
        make(name).train()(torch.randn(2, 3), torch.tensor([0, 255]))
    with pytest.raises(ValueError, match=r'soft targets of shape \(2, 4\) reached'):
        make(name).train()(torch.randn(2, 3), torch.rand(2, 4))


def test_missing_counts(name):
    kind, options = LOSSES[name]
    logits, target = torch.randn(2, 3), torch.tensor([0, 1])
    if 'num_classes' in options or name in ('FocalLoss', 'sigmoid focal'):
        assert make(name, counts=None)(logits, target).isfinite()
    else:
        with pytest.raises(RuntimeError, match=f'{kind} needs class counts .*ClassCountsHook'):
            make(name, counts=None)(logits, target)
