"""What LongTailClassifier refuses: when it is built, when training starts, at a batch."""

import re

import pytest
import torch

KD = dict(distillation=dict(type='TinyDistillation'))
CONTRASTIVE = dict(type='lt_mm.CosineClsHead')
OF_QUERIES = dict(CONTRASTIVE, contrast=dict(type='TinyContrastOfQueries'))
EXPERTS = dict(type='lt_mm.MultiExpertResNet', backbone=dict(type='ResNet', depth=18))
ABSENT = dict(config='gone.py', checkpoint='gone.pth')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(head=KD), 'LongTailLinearClsHead has a distillation, but LongTailClassifier has no'),
        (
            dict(head=CONTRASTIVE, teacher=ABSENT),
            'has a teacher, but the head LongTailLinearClsHead takes neither',
        ),
        (dict(head=OF_QUERIES, teacher=ABSENT), 'LongTailLinearClsHead takes neither its fe'),
        (dict(head=dict(type='LinearClsHead'), teacher=ABSENT), 'head LinearClsHead takes neither'),
        (dict(teacher=dict(cfg='a.py', checkpoint='b.pth')), 'has cfg, which is no argument of'),
        (dict(freeze_encoder='yes'), "freeze_encoder of LongTailClassifier is 'yes'; use True"),
        (
            dict(backbone=EXPERTS),
            r'takes the features of one network, but its backbone has 3 experts; use lt_mm\.Multi',
        ),
        (dict(key_momentum=1.0), 'key_momentum of LongTailClassifier is 1.0, but it mus'),
        (dict(key_momentum='0.9'), "key_momentum of LongTailClassifier is '0.9', but it mus"),
        (dict(key_momentum=float('nan')), 'is nan, but it must be between 0 and 1'),
        (dict(key_momentum=0.9, teacher=ABSENT), 'needed: the keys are those of the teacher'),
        (dict(key_momentum=0.9, freeze_encoder=True), 'needed: the encoder is frozen; leave'),
        (dict(key_momentum=0.9, head=OF_QUERIES), 'needed: the head LongTailLinearClsHead t'),
    ],
)
def test_parts_that_do_not_go_together(build, changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_distillation_may_be_all_a_teacher_is_for(build, teacher, batch):
    model = build(head=CONTRASTIVE | KD, teacher=teacher(width=3))
    assert set(model.loss(*batch(1))) == {'loss_cls', 'loss_kd'}


def test_teacher_that_cannot_be_loaded_ends_init_weights(build, teacher, tmp_path):
    good = teacher()

    def refuses(error, message, **changes):
        with pytest.raises(error, match=message):
            build(teacher=good | changes).init_weights()

    refuses(FileNotFoundError, "config 'gone.py' does not exist", config='gone.py')
    refuses(FileNotFoundError, "'gone.pth' does not exist", checkpoint='gone.pth')
    torch.save(dict(state_dict={}, meta=re.compile('a')), tmp_path / 'code.pth')
    refuses(ValueError, "needs 're._compile' imported", checkpoint=str(tmp_path / 'code.pth'))
    (tmp_path / 'cut.pth').write_bytes((tmp_path / 'teacher.pth').read_bytes()[:500])
    refuses(ValueError, 'cut.pth.*cannot be read', checkpoint=str(tmp_path / 'cut.pth'))
    torch.save(build().state_dict(), tmp_path / 'cosine.pth')
    refuses(
        ValueError,
        "cosine.pth' does not fit the teacher config .1 missing from it: head.fc.bias",
        checkpoint=str(tmp_path / 'cosine.pth'),
    )


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(mean=[1.0, 2.0, 4.0]), r'mean .* \[1.0, 2.0, 3.0\] for the student and .* 4.0\]'),
        (dict(std=[4.0, 5.0, 7.0]), 'std of the data_preprocessor'),
        (dict(to_rgb=True), 'swapping of red and blue .* False for the student and True'),
    ],
)
def test_images_prepared_otherwise(build, teacher, change, message):
    with pytest.raises(ValueError, match=f'{message}.*use the same'):
        build(teacher=teacher(**change)).init_weights()


def test_teacher_that_says_nothing_of_its_images_is_taken(build, teacher):
    given = teacher()
    del given['config']['data_preprocessor']
    build(teacher=given).init_weights()


@pytest.mark.parametrize(
    ('head', 'argument'),
    [
        ({}, 'head.contrast.key_channels=6'),
        (CONTRASTIVE | dict(contrast=dict(type='TinyContrast')), 'head.contrast.key_channels=6'),
    ],
)
def test_teacher_of_another_width_names_the_argument(build, teacher, batch, head, argument):
    model = build(head=head, teacher=teacher(width=6))
    with pytest.raises(ValueError, match=f'gives features of 6 .* head have 8; set {argument}'):
        model.loss(*batch(2))


def test_teacher_of_other_classes(build, teacher, batch):
    model = build(head=KD, teacher=teacher(num_classes=5))
    with pytest.raises(ValueError, match=r'logits of shape \(4, 5\).*teacher of the same classes'):
        model.loss(*batch(1))


def test_broken_teacher_names_the_head(build, teacher, batch):
    model = build(teacher=teacher())
    model.teacher.model.backbone.conv.bias.data.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match='LongTailLinearClsHead: its keys are not fin'):
        model.loss(*batch(2))
    assert not model.head.contrast.queue.filled.any()


def test_batches_that_are_no_views(build, batch):
    inputs, samples = batch(1)
    with pytest.raises(ValueError, match='LongTailClassifier takes one to three views.*got 4'):
        build().loss(list(inputs), samples)
