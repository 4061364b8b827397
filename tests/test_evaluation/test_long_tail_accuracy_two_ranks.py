"""Two ranks, one of which sees an image twice, report what one process reports."""

import json

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.dataset import DefaultSampler

from lt_mm.evaluation import LongTailAccuracy

COUNTS = [500, 50, 50, 5, 5]
NUMBER = 23  # odd, so that the sampler repeats an image


def evaluate(indices, folder):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(5, (NUMBER,), generator=generator)
    scores = torch.rand(NUMBER, 5, generator=generator) + 0.4 * torch.eye(5)[truth]
    metric = LongTailAccuracy(class_counts=COUNTS, collect_dir=f'{folder}/parts')
    metric.dataset_meta = dict(classes=tuple('abcde'))
    for start in range(0, len(indices), 5):
        batch = indices[start : start + 5]
        metric.process({}, [dict(pred_score=scores[i], gt_label=truth[i][None]) for i in batch])
    return metric.evaluate(NUMBER)


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    indices = list(DefaultSampler(range(NUMBER), shuffle=False))
    result = evaluate(indices, folder)
    with open(f'{folder}/rank{rank}.json', 'w') as file:
        json.dump([len(indices), result], file)
    dist.destroy_process_group()


def test_two_ranks_report_what_one_process_reports(tmp_path):
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    expected = evaluate(range(NUMBER), tmp_path)
    assert len(set(expected.values())) > 4
    for rank in range(2):
        seen, result = json.loads((tmp_path / f'rank{rank}.json').read_text())
        assert seen == NUMBER // 2 + 1
        assert result == expected
