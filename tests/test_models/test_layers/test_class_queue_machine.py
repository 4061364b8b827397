"""ClassQueue against one deque a class, in any order of whatever can be done to it."""

import io
import warnings
from collections import deque

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lt_mm.functional import queue_lengths
from lt_mm.models.layers import ClassQueue
from lt_mm.structures import ClassCounts

MOST_CLASSES = 4
LABELS = st.lists(st.integers(0, MOST_CLASSES - 1), max_size=25)
COUNTS = st.lists(st.integers(0, 9), min_size=MOST_CLASSES, max_size=MOST_CLASSES)


class QueueMachine(RuleBasedStateMachine):
    @initialize(
        num_classes=st.integers(1, MOST_CLASSES),
        min_size=st.integers(1, 3),
        spare=st.integers(0, 12),
    )
    def start(self, num_classes, min_size, spare):
        self.args = dict(
            num_classes=num_classes, dim=2, size=num_classes * min_size + spare, min_size=min_size
        )
        self.queue = ClassQueue(**self.args)
        self.counts = [1] * num_classes
        self.value = 0
        self.empty()

    def empty(self):
        lengths = queue_lengths(self.counts, self.args['size'], self.args['min_size'])
        self.model = [deque(maxlen=length) for length in lengths.tolist()]

    @rule(
        labels=LABELS,
        dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]),
        label_dtype=st.sampled_from([torch.int64, torch.int32, torch.uint8]),
        first_id=st.none() | st.integers(-1, 2**63 - 30),
    )
    def enqueue(self, labels, dtype, label_dtype, first_id):
        labels = [label % self.args['num_classes'] for label in labels]
        # Whole numbers up to 2048 are exact in half precision.
        values = [(self.value + i) % 2048 for i in range(len(labels))]
        self.value += len(labels)
        ids = [-1] * len(labels)
        given = None
        if first_id is not None:
            ids = [first_id + i for i in range(len(labels))]
            given = torch.tensor(ids, dtype=torch.int64)
        rows = torch.tensor([[value, -value] for value in values], dtype=dtype).reshape(-1, 2)
        self.queue.enqueue(rows, torch.tensor(labels, dtype=label_dtype), given)
        for label, value, number in zip(labels, values, ids, strict=True):
            self.model[label].append((value, -value, number))

    @rule(counts=COUNTS)
    def set_other_counts(self, counts):
        counts = counts[: self.args['num_classes']]
        counts[0] += not any(counts)
        before = [part.maxlen for part in self.model]
        was_filled = any(self.model)
        old, self.counts = self.model, counts
        self.empty()
        changed = [part.maxlen for part in self.model] != before
        if not changed:
            self.model = old
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            self.queue.set_class_counts(ClassCounts(counts))
        assert len(caught) == (changed and was_filled)

    @rule(factor=st.integers(1, 3))
    def set_the_same_counts(self, factor):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            self.queue.set_class_counts(ClassCounts([factor * n for n in self.counts]))

    @rule()
    def save_and_load(self):
        file = io.BytesIO()
        torch.save(self.queue.state_dict(), file)
        file.seek(0)
        self.queue = ClassQueue(**self.args)
        self.queue.load_state_dict(torch.load(file, weights_only=True))

    @rule(
        label=st.sampled_from([-100, -2, -1, MOST_CLASSES, 100, 255]),
        place=st.integers(0, 2),
    )
    def refuse_a_label_that_is_no_class(self, label, place):
        labels = torch.zeros(3, dtype=torch.int64)
        labels[place] = label
        with pytest.raises(ValueError, match=f'label {label} '):
            self.queue.enqueue(torch.ones(3, 2), labels)

    @precondition(lambda self: self.args['num_classes'] > 1)
    @rule()
    def refuse_counts_of_other_classes(self):
        with pytest.raises(ValueError, match='have 1 classes but the class queue has'):
            self.queue.set_class_counts(ClassCounts([5]))

    @invariant()
    def hands_out_what_the_model_holds(self):
        if not hasattr(self, 'model'):
            return
        features, lengths, ids = self.queue.keys()
        assert lengths.tolist() == [len(part) for part in self.model]
        assert self.queue.lengths.tolist() == [part.maxlen for part in self.model]
        assert int(self.queue.lengths.sum()) == self.args['size']
        assert not features.requires_grad
        rows = [(*row, number) for row, number in zip(features.tolist(), ids.tolist(), strict=True)]
        start = 0
        for part in self.model:
            assert sorted(rows[start : start + len(part)]) == sorted(part)
            start += len(part)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=50, stateful_step_count=25, deadline=None, derandomize=True, database=None
)
