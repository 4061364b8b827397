"""Two processes write one queue."""

import torch

from lt_mm.models.layers import ClassQueue

# Features and labels that each rank brings at each step; uneven, and once nothing at all.
STEPS = [
    [([1.0, 2.0], [0, 1]), ([3.0], [0])],
    [([], []), ([4.0, 5.0, 6.0], [1, 1, 1])],
    [([], []), ([], [])],
    [([7.0, 8.0, 9.0], [0, 0, 0]), ([10.0], [0])],
]


def write(queue, parts):
    values = [value for part in parts for value in part[0]]
    labels = [label for part in parts for label in part[1]]
    queue.enqueue(torch.tensor(values).reshape(-1, 1), torch.tensor(labels, dtype=torch.long))


def write_on(rank):
    queue = ClassQueue(num_classes=2, dim=1, size=6, min_size=2)
    for step in STEPS:
        write(queue, [step[rank]])
    return queue.state_dict()


def test_ranks_agree_with_one_process_that_sees_both_batches(two_ranks):
    queue = ClassQueue(num_classes=2, dim=1, size=6, min_size=2)
    for step in STEPS:
        write(queue, step)
    assert queue.filled.tolist() == [3, 3]
    for rank, state in enumerate(two_ranks(write_on)):
        for name, value in queue.state_dict().items():
            assert torch.equal(value, state[name]), (rank, name)
