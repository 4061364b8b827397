"""TextGMLLoss: eqs. 5 and 11 with texts as centres, errors, two ranks."""

import math

import pytest
import torch
from torch import nn

from lt_mm.models.losses import TextGMLLoss
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts, TextFeatures

COUNTS = [60, 25, 15]
LENGTHS = [2, 1, 3]


def write(folder, lengths=LENGTHS):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(sum(lengths), 7, generator=generator)
    TextFeatures(features, torch.tensor(lengths), ()).save(f'{folder}/texts.npz')
    return f'{folder}/texts.npz'


def make(folder, **kwargs):
    path = write(folder)
    torch.manual_seed(0)
    loss = TextGMLLoss(3, 6, path, **{'widths': (8, 5), **kwargs}).double()
    loss.set_class_counts(ClassCounts(COUNTS))
    return loss


def features(number):
    torch.manual_seed(1)
    return torch.randn(number, 6, dtype=torch.float64), torch.arange(number) % 3


def naive(loss, rows, labels, alpha):
    """-log of eq. 11, one query at a time, in Python floats."""
    centres = loss.key_mlp(loss.texts).split(LENGTHS)
    total = 0.0
    for query, label in zip(loss.query_mlp(rows).tolist(), labels.tolist(), strict=True):
        terms = []
        for count, group in zip(COUNTS, centres, strict=True):
            dots = [sum(a * b for a, b in zip(query, z, strict=True)) for z in group.tolist()]
            likelihood = sum(math.exp(dot / loss.temperature) for dot in dots) / len(dots)
            terms.append(likelihood * (count / 100) ** alpha)
        total -= math.log(terms[label] / sum(terms))
    return total / len(labels)


@pytest.mark.parametrize('alpha', [0.0, 0.4, 1.0])
def test_equals_eqs_5_and_11_with_texts_as_centres(tmp_path, alpha):
    loss = make(tmp_path, alpha=alpha, loss_weight=0.5)
    rows, labels = features(5)
    expected = 0.5 * naive(loss, rows, labels, alpha)
    assert loss(rows, labels)['loss_gml'].item() == pytest.approx(expected, rel=1e-5)


def test_contrast_takes_the_queries_and_no_keys(tmp_path):
    loss = make(tmp_path)
    rows, labels = features(4)
    unknown = torch.full((4,), -1)
    keys = torch.full((4, 9), math.nan)
    batch = ContrastBatch(rows[None], keys, labels, unknown, unknown, nn.Identity())
    assert loss.num_query_views == 1
    assert loss.contrast(batch) == loss(rows, labels)


def test_gradcheck_and_both_embeddings_learn(tmp_path):
    loss = make(tmp_path)
    rows, labels = features(4)
    rows.requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: loss(rows, labels)['loss_gml'], (rows,))
    loss(rows, labels)['loss_gml'].backward()
    for name, parameter in loss.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_texts_are_in_no_checkpoint(tmp_path):
    loss = MODELS.build(
        dict(type='TextGMLLoss', num_classes=3, in_channels=6, text_features=write(tmp_path))
    )
    assert not {'texts', 'lengths'} & set(loss.state_dict())
    assert loss.query_mlp.layers[0].weight.shape == (2048, 6)
    assert loss.key_mlp.layers[0].weight.shape == (2048, 7)


def test_no_query_is_zero_with_a_graph(tmp_path):
    rows = torch.zeros(0, 6, dtype=torch.float64, requires_grad=True)
    value = make(tmp_path)(rows, torch.zeros(0, dtype=torch.int64))['loss_gml']
    value.backward()
    assert value == 0 and rows.grad.shape == (0, 6)


def test_one_class_has_nothing_to_be_told_from(tmp_path):
    path = write(tmp_path, [2])
    loss = TextGMLLoss(1, 6, path, widths=(5,))
    loss.set_class_counts(ClassCounts([9]))
    assert loss(torch.ones(2, 6), torch.zeros(2, dtype=torch.int64))['loss_gml'] == 0


def test_half_precision(tmp_path):
    loss = make(tmp_path).float()
    rows, labels = features(5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(rows.float(), labels)['loss_gml']
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(rows.float(), labels)['loss_gml'], rtol=0.02, atol=0)


def test_no_counts_and_labels_that_are_no_class(tmp_path):
    loss = TextGMLLoss(3, 6, write(tmp_path))
    with pytest.raises(RuntimeError, match='TextGMLLoss needs class counts'):
        loss(torch.ones(2, 6), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match='label 3 reached TextGMLLoss'):
        make(tmp_path)(*features(2)[:1], torch.tensor([0, 3]))
    with pytest.raises(ValueError, match='TextGMLLoss'):
        loss.set_class_counts(ClassCounts([1, 2]))


def test_another_number_of_classes_and_bad_arguments(tmp_path):
    path = write(tmp_path)
    with pytest.raises(ValueError, match='for 3 classes, but TextGMLLoss has num_classes=4'):
        TextGMLLoss(4, 6, path)
    with pytest.raises(FileNotFoundError, match='text_features.py'):
        TextGMLLoss(3, 6, tmp_path / 'absent.npz')
    with pytest.raises(ValueError, match='alpha of TextGMLLoss is inf, but it must be finite'):
        TextGMLLoss(3, 6, path, alpha=math.inf)


def gradient(folder, rows):
    loss = make(folder)
    student, labels = features(5)
    value = loss(student[rows], labels[rows])['loss_gml']
    value.backward()
    return value.detach(), loss.key_mlp.layers[0].weight.grad


def gradient_of_rank(rank, folder):
    rows = slice(0, 4) if rank == 0 else slice(4, 5)
    return gradient(f'{folder}/{rank}', rows)


def test_two_uneven_ranks_give_the_joint_batch(two_ranks, tmp_path):
    results = two_ranks(gradient_of_rank, tmp_path)
    for part, joint in zip(
        zip(*results, strict=True), gradient(tmp_path, slice(None)), strict=True
    ):
        torch.testing.assert_close(sum(part) / 2, joint)
