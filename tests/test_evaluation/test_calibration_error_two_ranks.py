"""Two ranks, one of which sees an image twice, report what one process reports."""

import pytest
import torch
from mmengine.dataset import DefaultSampler

from lt_mm.evaluation import CalibrationError

NUMBERS = dict(images=23, pixels=5, one=1)  # odd, so that the sampler repeats an image


def samples(task):
    generator = torch.Generator().manual_seed(0)
    for _ in range(NUMBERS[task]):
        if task == 'pixels':
            logits = 3 * torch.randn(4, 6, 5, generator=generator)
            labels = torch.randint(4, (1, 6, 5), generator=generator)
            labels[0, 0] = 255
            yield dict(seg_logits=dict(data=logits), gt_sem_seg=dict(data=labels))
        else:
            scores = (3 * torch.randn(4, generator=generator)).softmax(0)
            yield dict(pred_score=scores, gt_label=torch.randint(4, (1,), generator=generator))


def evaluate(task, indices, folder):
    metric = CalibrationError(class_counts=[500, 50, 5, 5], collect_dir=f'{folder}/parts{task}')
    metric.dataset_meta = dict(classes=tuple('abcd'))
    data = list(samples(task))
    for start in range(0, len(indices), 5):
        metric.process({}, [data[i] for i in indices[start : start + 5]])
    return metric.evaluate(NUMBERS[task])


def evaluate_on(rank, folder):
    found = {}
    for task, number in NUMBERS.items():
        for round_up in (True, False):
            indices = list(DefaultSampler(range(number), shuffle=False, round_up=round_up))
            result = evaluate(task, indices, folder)
            found[f'{task} {round_up}'] = [len(indices), result]
    return found


def test_two_ranks_report_what_one_process_reports(two_ranks, tmp_path):
    ranks = two_ranks(evaluate_on, tmp_path)
    for task, number in NUMBERS.items():
        expected = evaluate(task, range(number), tmp_path)
        assert len(set(expected.values())) > 2
        seen = sum(found[f'{task} True'][0] for found in ranks)
        assert seen == number + 1
        for found in ranks:
            for round_up in (True, False):
                assert found[f'{task} {round_up}'][1] == pytest.approx(
                    expected, rel=1e-12, nan_ok=True
                )
