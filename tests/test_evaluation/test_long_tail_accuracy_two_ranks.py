"""Two ranks, one of which sees an image twice, report what one process reports."""

import torch
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


def evaluate_on(rank, folder):
    indices = list(DefaultSampler(range(NUMBER), shuffle=False))
    return len(indices), evaluate(indices, folder)


def test_two_ranks_report_what_one_process_reports(two_ranks, tmp_path):
    expected = evaluate(range(NUMBER), tmp_path)
    assert len(set(expected.values())) > 4
    for seen, result in two_ranks(evaluate_on, tmp_path):
        assert seen == NUMBER // 2 + 1
        assert result == expected
