"""Two processes write one queue."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

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


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    queue = ClassQueue(num_classes=2, dim=1, size=6, min_size=2)
    for step in STEPS:
        write(queue, [step[rank]])
    torch.save(queue.state_dict(), f'{folder}/rank{rank}.pth')
    dist.destroy_process_group()


def test_ranks_agree_with_one_process_that_sees_both_batches(tmp_path):
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    queue = ClassQueue(num_classes=2, dim=1, size=6, min_size=2)
    for step in STEPS:
        write(queue, step)
    assert queue.filled.tolist() == [3, 3]
    for rank in range(2):
        state = torch.load(tmp_path / f'rank{rank}.pth')
        for name, value in queue.state_dict().items():
            assert torch.equal(value, state[name]), (rank, name)
