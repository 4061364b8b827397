"""Bytes that a step of the class queue sends between two processes."""

import json

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lt_mm.models.layers import ClassQueue

DIM = 24
# Keys that rank 0 and rank 1 bring at each step.
STEPS = [(5, 9), (0, 7), (0, 0), (4, 4)]


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
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
    with open(f'{folder}/{rank}.json', 'w') as file:
        json.dump(received, file)
    dist.destroy_process_group()


def test_bytes_gathered_at_a_step(tmp_path):
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        received = json.loads((tmp_path / f'{rank}.json').read_text())
        for step, messages in zip(STEPS, received, strict=True):
            # The number of keys of each rank, int64; then, padded to the rank with most keys, per
            # key a float16 feature, its label and its sample; nothing when no rank has a key.
            keys = 2 * (DIM + 8) * max(step)
            assert messages == [[8, 8], [keys, keys]][: 2 if keys else 1], step
