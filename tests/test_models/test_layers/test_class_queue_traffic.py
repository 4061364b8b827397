"""Bytes that a step of the class queue sends between two processes."""

import torch
import torch.distributed as dist

from lt_mm.models.layers import ClassQueue

DIM = 24
# Keys that rank 0 and rank 1 bring at each step.
STEPS = [(5, 9), (0, 7), (0, 0), (4, 4)]


def received_by(rank):
    queue = ClassQueue(num_classes=3, dim=DIM, size=60, min_size=20)
    gather, received = dist.all_gather, []

    def measured(parts, *args, **kwargs):
        received[-1].append([part.numel() * part.element_size() for part in parts])
        return gather(parts, *args, **kwargs)

    dist.all_gather = measured
    for step in STEPS:
        received.append([])
        labels = torch.randint(3, (step[rank],))
        queue.enqueue(torch.randn(step[rank], DIM), labels, labels + 7)
    return received


def test_bytes_gathered_at_a_step(two_ranks):
    for received in two_ranks(received_by):
        for step, messages in zip(STEPS, received, strict=True):
            # The number of keys of each rank, int64; then, padded to the rank with most keys, per
            # key a float16 feature, its label and its sample; nothing when no rank has a key.
            keys = 2 * (DIM + 8) * max(step)
            assert messages == [[8, 8], [keys, keys]][: 2 if keys else 1], step
