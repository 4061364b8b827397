"""LongTailClassifier: which view goes where, who makes the keys, and what stays frozen."""

import copy

import pytest
import torch
from mmengine.dataset import default_collate
from mmpretrain.registry import MODELS
from torch import nn

from lt_mm.models.teachers.classification_teacher import ClassificationTeacher

CONTRAST = dict(type='lt_mm.CosineClsHead', contrast=dict(type='TinyContrast'))
OF_QUERIES = dict(type='lt_mm.CosineClsHead', contrast=dict(type='TinyContrastOfQueries'))
KD = dict(distillation=dict(type='TinyDistillation'))


def step(model, data):
    model.zero_grad()
    losses = model(*data, mode='loss')
    model.parse_losses(losses)[0].backward()
    return losses


def in_eval(model):
    """Without statistics of the batch, so that a view can be computed alone."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    return model


@pytest.mark.parametrize('views', [1, 2, 3])
@pytest.mark.parametrize('num_query_views', [1, 2])
def test_routing_without_a_teacher(build, batch, views, num_query_views):
    model = in_eval(build(head=CONTRAST))
    model.head.contrast.num_query_views = num_query_views
    inputs, samples = batch(views)
    model.loss(inputs, samples)
    calls, model.backbone.batches = model.backbone.batches, []
    assert calls == [4 * views]
    features = [model.backbone(view)[0] for view in ([inputs] if views == 1 else inputs)]
    given = model.head.contrast.batch
    contrasted = {1: [0], 2: [0, 1], 3: [1, 2]}[views][:num_query_views]
    torch.testing.assert_close(given.queries, torch.stack([features[v] for v in contrasted]))
    torch.testing.assert_close(given.keys, features[-1])
    assert given.queries.requires_grad and not given.keys.requires_grad


@pytest.mark.parametrize('views', [1, 2, 3])
@pytest.mark.parametrize('distils', [False, True])
def test_routing_with_a_teacher(build, batch, teacher, views, distils):
    model = in_eval(build(head=CONTRAST | (KD if distils else {}), teacher=teacher()))
    model.head.contrast.num_query_views = 1
    inputs, samples = batch(views)
    losses = model.loss(inputs, samples)
    # The student: classified and query view; the teacher: last view and, to distil, the first.
    assert model.backbone.batches == [4 * {1: 1, 2: 1, 3: 2}[views]]
    assert model.teacher.model.backbone.batches == [4 * (1 + (distils and views > 1))]
    inputs = [inputs] if views == 1 else inputs
    torch.testing.assert_close(model.head.contrast.batch.keys, model.teacher(inputs[-1]).features)
    assert ('loss_kd' in losses) == distils
    if distils:
        student = model.head(model.extract_feat(inputs[0]))
        expected = (student.softmax(1) - model.teacher(inputs[0]).logits.softmax(1)).square()
        torch.testing.assert_close(losses['loss_kd'], expected.mean())


def test_views_that_nothing_asks_for_are_not_computed(build, batch, teacher):
    model = build(head=dict(type='lt_mm.CosineClsHead'))
    model.loss(*batch(3))
    assert model.backbone.batches == [4]
    model = build(head=dict(type='lt_mm.CosineClsHead', **KD), teacher=teacher())
    model.loss(*batch(3))
    assert model.backbone.batches == model.teacher.model.backbone.batches == [4]
    model = build(head=OF_QUERIES)
    model.loss(*batch(3))
    assert model.backbone.batches == [12]


HIDDEN = dict(base='StackedLinearClsHead', mid_channels=[6], norm_cfg=dict(type='BN1d'))


@pytest.mark.parametrize('views', [1, 2, 3])
@pytest.mark.parametrize('num_query_views', [1, 2])
@pytest.mark.parametrize('kind', ['TinyContrast', 'TinyContrastOfQueries'])
def test_each_view_passes_hidden_layers_of_the_head_once(
    build, batch, views, num_query_views, kind
):
    head = dict(CONTRAST, contrast=dict(type=kind), **HIDDEN)
    model = build(head=head)
    model.head.contrast.num_query_views = num_query_views
    losses = step(model, batch(views))
    contrasted = {1: [0], 2: [0, 1], 3: [1, 2]}[views][:num_query_views]
    passed = {0, *contrasted} | ({views - 1} if kind == 'TinyContrast' else set())
    assert model.head.layers[0].norm.num_batches_tracked == len(passed)
    assert model.head.contrast.batch.queries.shape == (len(contrasted), 4, 6)
    assert losses['loss_tiny'] > 0
    assert model.head.layers[0].fc.weight.grad.any()


@pytest.mark.parametrize('source', ['own', 'momentum'])
def test_keys_have_passed_hidden_layers_too(build, batch, source):
    changes = dict(key_momentum=0.9) if source == 'momentum' else {}
    model = in_eval(build(head=CONTRAST | HIDDEN, **changes))
    inputs, samples = batch(3)
    model.loss(inputs, samples)
    encoder = model.backbone if source == 'own' else model.key_encoder.module[0]
    layer = model.head.layers[0]
    expected = layer.act(layer.norm(layer.fc(encoder(inputs[2])[0])))
    torch.testing.assert_close(model.head.contrast.batch.keys, expected)


def test_views_of_other_sizes_are_computed_apart(build, batch):
    model = build()
    step(model, batch(3, sizes=(16, 12, 12)))
    assert model.backbone.batches == [4, 8]


def test_classified_view_gives_l_cls(build, batch):
    model = in_eval(build())
    inputs, samples = batch(3)
    losses = model.loss(inputs, samples)
    expected = model.head.classification_loss(
        model.head(model.extract_feat(inputs[0])), model.head.targets(samples)
    )
    torch.testing.assert_close(losses['loss_cls'], expected['loss_cls'])
    assert set(losses) == {'loss_cls', 'loss_gml', 'gml_queue_filled'}


def test_views_from_multiview_through_the_data_preprocessor(build, batch):
    inputs, samples = batch(2)
    items = [dict(inputs=list(views), data_samples=s) for *views, s in zip(*inputs, samples)]
    model = build()
    data = model.data_preprocessor(default_collate(items), training=True)
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    torch.testing.assert_close(data['inputs'][1], (inputs[1] - mean) / std)
    assert step(model, (data['inputs'], data['data_samples']))['loss_gml'].isfinite()


def test_batch_augmentations_of_mmpretrain_still_reach_one_view(build):
    mixup = dict(augments=dict(type='Mixup', alpha=0.5))
    model = build(
        head=dict(type='lt_mm.CosineClsHead'),
        data_preprocessor=dict(num_classes=4),
        train_cfg=mixup,
    )
    assert model.data_preprocessor.batch_augments is not None
    assert build(data_preprocessor=None).data_preprocessor.batch_augments is None


def test_teacher_leaves_no_trace(build, batch, teacher):
    model, plain = build(teacher=teacher()), build()
    model.init_weights()
    before = copy.deepcopy(model.teacher.model.state_dict())
    step(model, batch(2))
    model.train()
    assert not any(part.training for part in model.teacher.model.modules())
    for name, value in model.teacher.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert len(list(model.parameters())) == len(list(plain.parameters()))
    assert copy.deepcopy(model).teacher is model.teacher
    assert isinstance(model.teacher, ClassificationTeacher)


def test_every_weight_learns_with_everything_on(build, batch, teacher):
    given = teacher(width=6)
    head = dict(contrast=dict(key_channels=6), **KD)
    model = build(head=head, teacher=given)
    losses = step(model, batch(3))
    assert {'loss_cls', 'loss_gml', 'loss_kd'} <= losses.keys()
    for name, value in model.named_parameters():
        # Batch normalisation takes the bias of the convolution away.
        assert value.grad is not None and (value.grad.any() or name.endswith('conv.bias')), name


def test_momentum_encoder_restated(build, batch):
    model = build(head=CONTRAST, key_momentum=0.9)
    model.init_weights()
    expected = {name: value.clone() for name, value in model.backbone.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for index in range(3):
        if index:
            for name, value in model.backbone.named_parameters():
                expected[name] = 0.9 * expected[name] + 0.1 * value.detach()
        inputs, samples = batch(3)
        step(model, (inputs, samples))
        key_encoder = model.key_encoder.module[0]
        for name, value in key_encoder.named_parameters():
            torch.testing.assert_close(value.data, expected[name])
        keys = copy.deepcopy(key_encoder)(inputs[2])[0]
        torch.testing.assert_close(model.head.contrast.batch.keys, keys)
        optimizer.step()
    assert not torch.equal(key_encoder.conv.weight, model.backbone.conv.weight)
    assert all(not value.requires_grad for value in model.key_encoder.parameters())


def test_momentum_encoder_is_in_the_checkpoint_and_not_in_inference(build, batch):
    model = build(key_momentum=0.9)
    step(model, batch(2))
    assert 'key_encoder.module.0.conv.weight' in model.state_dict()
    model.eval()
    calls = len(model.key_encoder.module[0].batches)
    steps = int(model.key_encoder.steps)
    inputs, samples = batch(1)
    model(inputs, mode='tensor')
    model(inputs, samples, mode='predict')
    assert len(model.key_encoder.module[0].batches) == calls
    model(inputs, samples, mode='loss')
    assert int(model.key_encoder.steps) == steps == 1


def test_a_head_of_mmpretrain_in_it_is_that_of_an_image_classifier(build, batch, config):
    """Also a head with a bool that is called distillation."""
    for head in (dict(type='LinearClsHead'), dict(type='LeViTClsHead', distillation=False)):
        torch.manual_seed(0)
        model = build(head=head)
        torch.manual_seed(0)
        plain = MODELS.build(config(head=head, type='ImageClassifier', data_preprocessor=None))
        inputs, samples = batch(1)
        losses, expected = (step(net.train(), (inputs, samples)) for net in (model, plain))
        assert losses.keys() == expected.keys() == {'loss'}
        assert torch.equal(losses['loss'], expected['loss'])


@pytest.mark.parametrize('mode', ['tensor', 'predict'])
def test_inference_is_that_of_a_plain_classifier(build, batch, config, mode):
    model = build(teacher=dict(config='gone.py', checkpoint='gone.pth'), key_momentum=None).eval()
    cfg = config(type='ImageClassifier', head=dict(type='lt_mm.CosineClsHead'))
    del cfg['data_preprocessor']
    plain = MODELS.build(cfg).eval()
    missing, extra = plain.load_state_dict(model.state_dict(), strict=False)
    assert not [name for name in missing if 'class_counts' not in name]
    assert all(name.startswith('head.contrast.') for name in extra)
    inputs, _ = batch(1)
    results = [net(inputs, mode=mode) for net in (model, plain)]
    if mode == 'predict':
        results = [torch.stack([s.pred_score for s in samples]) for samples in results]
    assert torch.equal(*results)


def test_frozen_encoder_stays_as_it_is(build, batch):
    model = build(
        head=dict(type='lt_mm.CosineClsHead'),
        neck=dict(type='LinearNeck', in_channels=8, out_channels=8, norm_cfg=dict(type='BN1d')),
        freeze_encoder=True,
    )
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model.train()
        assert model.head.training
        assert not any(p.training for part in (model.backbone, model.neck) for p in part.modules())
        step(model, batch(1))
        optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) != (name == 'head.fc.weight'), name
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {'head.fc.weight'}


@pytest.mark.parametrize('views', [1, 3])
def test_a_batch_of_one_image(build, batch, teacher, views):
    for changes in (dict(), dict(teacher=teacher()), dict(key_momentum=0.9)):
        model = build(**changes)
        losses = step(model, batch(views, images=1))
        assert all(value.isfinite() for value in losses.values())
        assert model.head.contrast.queue.filled.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(build, batch, teacher, dtype):
    model = build(head=KD, teacher=teacher())
    data = batch(3)
    exact = copy.deepcopy(model).loss(*data)
    with torch.autocast('cpu', dtype=dtype):
        losses = model.loss(*data)
        taught = model.teacher(data[0][0])
    model.parse_losses(losses)[0].backward()
    assert taught.features.dtype == taught.logits.dtype == torch.float32
    for name, value in exact.items():
        assert losses[name].dtype == torch.float32
        torch.testing.assert_close(losses[name], value, rtol=0.1, atol=0.1)
    assert all(p.grad.isfinite().all() for p in model.parameters())
