"""CRDLoss against a plain loop: two terms, banks that move, negatives of other classes."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from lt_mm.functional import sample_other_groups
from lt_mm.models.losses import CRDLoss
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.registry import MODELS

SAMPLES, NEGATIVES, TAU = 12, 7, 0.2
CLASSES = torch.arange(SAMPLES) % 3
STEPS = [torch.tensor([0, 1, 2, 5]), torch.tensor([5, 3, 1]), torch.tensor([7])]


def make(**kwargs):
    torch.manual_seed(0)
    kwargs = dict(num_negatives=NEGATIVES, temperature=TAU, dim=4) | kwargs
    return CRDLoss(3, 6, kwargs.pop('num_samples', SAMPLES), 5, **kwargs).double()


def features(indices, step=0):
    """Of the student and of the teacher; those of an image change from step to step."""
    generator = torch.Generator().manual_seed(step)
    rows = torch.randn(2, SAMPLES, 6, dtype=torch.float64, generator=generator)[:, indices]
    return rows[0], rows[1, :, :5]


def unit(values):
    norm = math.sqrt(sum(value * value for value in values))
    return [value / norm for value in values]


def dot(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def naive(loss, steps, normalizer):
    """The loss of each step, and the banks after all of them."""
    banks = [loss.student_bank.rows.tolist(), loss.teacher_bank.rows.tolist()]
    embeddings = [loss.student_embedding.layers[0], loss.teacher_embedding.layers[0]]
    seen = {}
    constants = None
    values = []
    for step, indices in enumerate(steps):
        live = [
            [unit(row) for row in layer(part).tolist()]
            for layer, part in zip(embeddings, features(indices, step), strict=True)
        ]
        for position, index in enumerate(indices.tolist()):
            for bank, part in zip(banks, live, strict=True):
                if index not in seen:
                    bank[index] = part[position]
            seen[index] = CLASSES[index].item()
        groups = torch.tensor([seen.get(index, -1) for index in range(SAMPLES)])
        seed = int(torch.randint(2**62, (1,)))
        seeds = range(seed, seed + len(indices))
        picks = sample_other_groups(groups, CLASSES[indices], NEGATIVES, seeds).tolist()
        pairs = [[index, *row] for index, row in zip(indices.tolist(), picks, strict=True)]
        scores = [
            [[math.exp(dot(row, bank[k]) / TAU) for k in ks] for row, ks in zip(part, pairs)]
            for part, bank in zip(live, banks[::-1], strict=True)
        ]
        if constants is None:
            flat = [sum(term, []) for term in scores]
            estimates = [SAMPLES * sum(term) / len(term) for term in flat]
            constants = estimates if normalizer is None else [normalizer] * 2
        total = 0.0
        for term, constant in zip(scores, constants, strict=True):
            for row in term:
                h = [s / constant / (s / constant + NEGATIVES / SAMPLES) for s in row]
                total -= math.log(h[0]) + sum(math.log(1 - value) for value in h[1:])
        values.append(0.8 * total / len(indices))
        for position, index in enumerate(indices.tolist()):
            for bank, part in zip(banks, live, strict=True):
                old, new = bank[index], part[position]
                bank[index] = unit([0.5 * a + 0.5 * b for a, b in zip(old, new, strict=True)])
    return values, banks


@pytest.mark.parametrize('normalizer', [None, 1.0, 30.0])
def test_three_steps_equal_the_plain_loop(normalizer):
    loss = make(normalizer=normalizer)
    torch.manual_seed(1)
    expected, banks = naive(loss, STEPS, normalizer)
    torch.manual_seed(1)
    values = [
        loss(*features(indices, step), CLASSES[indices], indices)['loss_crd'].item()
        for step, indices in enumerate(STEPS)
    ]
    # log_normalizers is float64 here, but log of a constant starts in float32.
    torch.testing.assert_close(values, expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(loss.student_bank.rows.tolist(), banks[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(loss.teacher_bank.rows.tolist(), banks[1], rtol=1e-9, atol=1e-12)


def test_gradcheck_and_who_gets_a_gradient():
    loss = make()
    # A first embedding would move the bank with the features, without a gradient.
    loss.student_bank.is_written.fill_(True)
    loss.is_normalized.fill_(True)
    student, teacher = features(STEPS[0])

    def value(rows, module):
        torch.manual_seed(1)
        return module(rows, teacher, CLASSES[STEPS[0]], STEPS[0])['loss_crd']

    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: value(rows, deepcopy(loss)), (student,))
    teacher.requires_grad_()
    value(student, loss).backward()
    assert teacher.grad is None
    for name, parameter in loss.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_negatives_are_never_of_a_class_that_is_known_to_be_the_own():
    loss = make()
    everyone = torch.arange(SAMPLES)
    loss(*features(everyone), CLASSES, everyone)
    picks = loss._draw_negatives(CLASSES, everyone)
    assert picks.shape == (SAMPLES, NEGATIVES)
    assert (CLASSES[picks] != CLASSES[:, None]).all()


def test_contrast_takes_the_first_view_and_the_keys():
    sizes = dict(num_classes=3, in_channels=6, key_channels=5, num_samples=SAMPLES)
    loss = MODELS.build(dict(type='CRDLoss', num_negatives=3, **sizes))
    other = CRDLoss(3, 6, SAMPLES, 5, num_negatives=3)
    other.load_state_dict(loss.state_dict())
    indices = STEPS[0]
    student, teacher = (part.float() for part in features(indices))
    batch = ContrastBatch(
        student[None], teacher, CLASSES[indices], torch.full((4,), -1), indices, nn.Identity()
    )
    torch.manual_seed(1)
    value = loss.contrast(batch)['loss_crd']
    torch.manual_seed(1)
    assert loss.num_query_views == 1
    assert value == other(student, teacher, CLASSES[indices], indices)['loss_crd']


def test_of_an_image_twice_in_a_batch_the_last_embedding_is_kept():
    loss, same = make(), make()
    indices = torch.tensor([4, 2, 4])
    student, teacher = features(torch.tensor([0, 1, 2]))
    loss(student, teacher, CLASSES[indices], indices)
    same(student[1:], teacher[1:], CLASSES[indices[1:]], indices[1:])
    torch.testing.assert_close(loss.student_bank.rows, same.student_bank.rows)
    torch.testing.assert_close(loss.teacher_bank.rows, same.teacher_bank.rows)


def test_two_losses_before_one_backward_pass():
    loss = make()
    values = []
    for step, indices in enumerate(STEPS):
        student, teacher = features(indices, step)
        values.append(loss(student, teacher, CLASSES[indices], indices)['loss_crd'])
    sum(values).backward()
    assert loss.student_embedding.layers[0].weight.grad.isfinite().all()


def test_no_image_is_zero_with_a_graph_and_leaves_everything_as_it_was():
    loss = make()
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    none = torch.zeros(0, dtype=torch.int64)
    value = loss(*features(none), none, none)['loss_crd']
    value.backward()
    assert value == 0
    for name, state in loss.state_dict().items():
        assert torch.equal(state, before[name]), name


def test_one_image_and_half_precision():
    loss = make().float()
    student, teacher = features(STEPS[2])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(student.float(), teacher.float(), CLASSES[STEPS[2]], STEPS[2])['loss_crd']
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite() and value > 0


def test_a_run_continued_from_a_checkpoint_equals_one_that_was_not_cut(tmp_path):
    whole, cut = make(), make()
    for loss in (whole, cut):
        torch.manual_seed(1)
        loss(*features(STEPS[0]), CLASSES[STEPS[0]], STEPS[0])
    torch.save(cut.state_dict(), tmp_path / 'loss.pth')
    resumed = make(normalizer=5.0)
    resumed.load_state_dict(torch.load(tmp_path / 'loss.pth'))
    values = []
    for loss in (whole, resumed):
        torch.manual_seed(2)
        indices = STEPS[1]
        values.append(loss(*features(indices, 1), CLASSES[indices], indices)['loss_crd'])
    assert values[0] == values[1]
    assert torch.equal(whole.teacher_bank.rows, resumed.teacher_bank.rows)


def test_checkpoint_of_the_stated_size_and_one_of_another_dim_taken_for_nothing():
    loss, other = make().float(), make(dim=3)
    buffers = ('student_bank.rows', 'teacher_bank.rows', 'labels')
    flags = ('student_bank.is_written', 'teacher_bank.is_written')
    state = loss.state_dict()
    assert sum(state[name].nbytes for name in buffers + flags) == SAMPLES * (8 * 4 + 10)
    other(*features(STEPS[0]), CLASSES[STEPS[0]], STEPS[0])
    loss._load_from_state_dict(other.state_dict(), '', {}, False, [], [], [])
    assert (loss.labels == -1).all() and not loss.is_normalized


def run(loss, labels, indices):
    return loss(*features(indices % SAMPLES), labels, indices)


@pytest.mark.parametrize(
    ('labels', 'indices', 'told'),
    [
        ([0, 1], [0, -1], 'sample_idx'),
        ([0, 1], [0, SAMPLES], r'image 12 .*num_samples=12'),
        ([0, 3], [0, 1], 'label 3 reached CRDLoss'),
    ],
)
def test_labels_and_places_that_cannot_be(labels, indices, told):
    with pytest.raises(ValueError, match=told):
        run(make(), torch.tensor(labels), torch.tensor(indices))


def test_an_image_that_changes_its_class():
    loss = make()
    run(loss, torch.tensor([0, 1]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match='image 1 .* class 2, before it was of class 1'):
        run(loss, torch.tensor([0, 2]), torch.tensor([0, 1]))


def test_no_other_class():
    loss = make(num_samples=4, num_negatives=2)
    run(loss, torch.zeros(3, dtype=torch.int64), torch.arange(3))
    with pytest.raises(ValueError, match='all 4 images .* one class'):
        run(loss, torch.zeros(1, dtype=torch.int64), torch.tensor([3]))


def test_features_that_are_not_finite_do_not_reach_the_banks():
    loss = make()
    student, teacher = features(STEPS[0])
    teacher[1] = math.nan
    with pytest.raises(FloatingPointError, match="teacher's"):
        loss(student, teacher, CLASSES[STEPS[0]], STEPS[0])
    assert loss.teacher_bank.rows.isfinite().all() and not loss.student_bank.is_written.any()


@pytest.mark.parametrize(
    ('argument', 'told'),
    [
        (dict(num_negatives=SAMPLES), 'num_negatives of CRDLoss is 12'),
        (dict(num_negatives=0), 'num_negatives of CRDLoss is 0'),
        (dict(temperature=0.0), 'temperature of CRDLoss is 0.0'),
        (dict(normalizer=-1.0), 'normalizer of CRDLoss is -1.0'),
        (dict(bank_momentum=1.0), 'momentum'),
    ],
)
def test_bad_arguments(argument, told):
    with pytest.raises(ValueError, match=told):
        make(**argument)
