"""ClassQueue against one deque a class."""

from collections import deque

import pytest
import torch
from host_syncs import HostSyncs
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_mm.models.layers import ClassQueue
from lt_mm.structures import ClassCounts


def make_queue(counts=(6, 3, 0), size=9, min_size=1):
    queue = ClassQueue(num_classes=len(counts), dim=1, size=size, min_size=min_size)
    queue.set_class_counts(ClassCounts(list(counts)))
    return queue


def contents(queue):
    """Features of each class as sets; the order inside a class does not matter to the loss."""
    keys = queue.keys()
    return [sorted(part.flatten().tolist()) for part in keys.features.split(keys.lengths.tolist())]


def test_lengths_follow_eq_6():
    assert make_queue().lengths.tolist() == [5, 3, 1]


def test_starts_empty_and_hands_out_only_what_was_written():
    queue = make_queue()
    assert queue.keys().features.shape == (0, 1)
    queue.enqueue(torch.tensor([[1.0], [2.0]]), torch.tensor([1, 0]))
    assert contents(queue) == [[2.0], [1.0], []]


def test_order_wrap_around_and_more_samples_than_slots():
    queue = make_queue()
    queue.enqueue(torch.arange(4.0)[:, None], torch.zeros(4))
    queue.enqueue(torch.arange(4.0, 7.0)[:, None], torch.zeros(3))
    assert contents(queue)[0] == [2.0, 3.0, 4.0, 5.0, 6.0]
    queue.enqueue(torch.arange(10.0, 23.0)[:, None], torch.zeros(13))
    assert contents(queue)[0] == [18.0, 19.0, 20.0, 21.0, 22.0]
    queue.enqueue(torch.tensor([[99.0]]), torch.zeros(1))
    assert contents(queue)[0] == [19.0, 20.0, 21.0, 22.0, 99.0]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=5).filter(any),
    batches=st.lists(st.lists(st.integers(0, 4), max_size=30), max_size=8),
    spare=st.integers(0, 20),
    min_size=st.integers(1, 3),
)
def test_behaves_as_one_deque_a_class(counts, batches, spare, min_size):
    queue = make_queue(counts, min_size * len(counts) + spare, min_size)
    model = [deque(maxlen=length) for length in queue.lengths.tolist()]
    value = 0
    for batch in batches:
        labels = [label % len(counts) for label in batch]
        values = [float(value + i) for i in range(len(labels))]
        value += len(labels)
        queue.enqueue(
            torch.tensor(values)[:, None],
            torch.tensor(labels, dtype=torch.long),
            ids=torch.tensor(values).long(),
        )
        for label, item in zip(labels, values, strict=True):
            model[label].append(item)
        assert contents(queue) == [sorted(part) for part in model]
        keys = queue.keys()
        assert keys.ids.tolist() == keys.features.flatten().long().tolist()


def test_the_same_counts_keep_it_and_others_empty_it():
    queue = make_queue()
    queue.enqueue(torch.ones(3, 1), torch.tensor([0, 1, 2]))
    queue.set_class_counts(ClassCounts([6, 3, 0]))
    assert queue.filled.tolist() == [1, 1, 1]
    with pytest.warns(UserWarning, match='queue is emptied'):
        queue.set_class_counts(ClassCounts([0, 3, 6]))
    assert queue.filled.tolist() == [0, 0, 0] and queue.lengths.tolist() == [1, 3, 5]


def test_state_dict_carries_it():
    queue = make_queue()
    queue.enqueue(torch.arange(7.0)[:, None], torch.tensor([0, 0, 0, 1, 2, 2, 0]))
    other = ClassQueue(3, 1, 9, 1)
    other.load_state_dict(queue.state_dict())
    queue.enqueue(torch.ones(4, 1), torch.tensor([0, 1, 0, 0]))
    other.enqueue(torch.ones(4, 1), torch.tensor([0, 1, 0, 0]))
    for name, value in queue.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize('given', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('kept', [torch.float16, torch.float32])
def test_any_precision_is_kept_in_the_queues_without_gradient(given, kept):
    queue = ClassQueue(num_classes=1, dim=1, size=4, min_size=1, dtype=kept)
    queue.enqueue(torch.ones(1, 1, dtype=given, requires_grad=True), torch.tensor([0]))
    assert queue.keys().features.tolist() == [[1.0]]
    assert queue.features.dtype == kept and not queue.features.requires_grad


def test_features_beyond_the_range_saturate():
    queue = ClassQueue(num_classes=1, dim=1, size=4, min_size=1)
    queue.enqueue(torch.tensor([[1e6], [-1e6], [0.1]]), torch.zeros(3))
    assert queue.keys().features[:, 0].tolist() == [65504.0, -65504.0, pytest.approx(0.1, 2**-11)]


@pytest.mark.parametrize('label', [-1, 3, 255])
def test_labels_that_are_no_class_are_refused(label):
    with pytest.raises(ValueError, match=f'label {label} reached the class queue'):
        make_queue().enqueue(torch.ones(2, 1), torch.tensor([0, label]))


def test_empty_batch_changes_nothing():
    queue = make_queue()
    before = {name: value.clone() for name, value in queue.state_dict().items()}
    queue.enqueue(torch.zeros(0, 1), torch.zeros(0, dtype=torch.long))
    assert all(torch.equal(value, before[name]) for name, value in queue.state_dict().items())


def test_too_small_and_wrong_number_of_classes():
    with pytest.raises(ValueError, match='size=5 is too small for 3 queues of min_size=2'):
        ClassQueue(3, 1, 5, 2)
    with pytest.raises(ValueError, match='4 classes but the class queue has 3'):
        make_queue().set_class_counts(ClassCounts([1, 2, 3, 4]))


@pytest.mark.parametrize('shape', [(3, 1), (2, 4), (3, 5), (3,)])
def test_features_of_another_shape_are_refused(shape):
    queue = ClassQueue(2, 4, 8, 1)
    with pytest.raises(ValueError, match=r'takes \(M, 4\) with M labels'):
        queue.enqueue(torch.ones(shape), torch.tensor([0, 1, 1]))
    assert not queue.filled.any()


def test_keys_of_a_known_number_are_handed_out_without_waiting():
    queue = make_queue()
    for labels, number in (([0, 2, 0], 3), ([0, 0, 0, 1, 1, 1, 2], 9)):
        labels = torch.tensor(labels)
        queue.enqueue(torch.randn(len(labels), 1), labels)
        expected = queue.keys()
        with HostSyncs() as found:
            keys = queue.keys(number)
        assert len(keys.features) == number and not found.waits
        assert all(torch.equal(*parts) for parts in zip(keys, expected, strict=True))
    assert keys.features is queue.features
