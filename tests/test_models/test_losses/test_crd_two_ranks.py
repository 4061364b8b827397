"""Two ranks of CRDLoss are one with the joint batch: losses, gradients, banks."""

import torch

from lt_mm.models.losses import CRDLoss

SAMPLES = 10
CLASSES = torch.arange(SAMPLES) % 3
# Places of the images that each rank brings; uneven, an image on both ranks, nothing on one or all.
STEPS = [([0, 1, 2], [3]), ([], [4, 1]), ([], []), ([5, 6], [6, 0])]


def train(steps, seed):
    torch.manual_seed(0)
    loss = CRDLoss(3, 5, SAMPLES, dim=4, num_negatives=6)
    torch.manual_seed(seed)
    table = torch.randn(2, SAMPLES, 5, generator=torch.Generator().manual_seed(2))
    values = []
    for step in steps:
        indices = torch.tensor(step, dtype=torch.int64)
        student, teacher = table[:, indices]
        value = loss(student, teacher, CLASSES[indices], indices)['loss_crd']
        value.backward()
        values.append(value.detach())
    gradients = {name: parameter.grad for name, parameter in loss.named_parameters()}
    return torch.stack(values), gradients, loss.state_dict()


def train_rank(rank):
    # Other random states, of which that of rank 0 is followed.
    return train([step[rank] for step in STEPS], seed=1 + rank)


def test_two_ranks_equal_one(two_ranks):
    ranks = two_ranks(train_rank)
    values, gradients, state = train([first + second for first, second in STEPS], seed=1)
    assert (values > 0).tolist() == [True, True, False, True]
    torch.testing.assert_close((ranks[0][0] + ranks[1][0]) / 2, values)
    for name, gradient in gradients.items():
        torch.testing.assert_close((ranks[0][1][name] + ranks[1][1][name]) / 2, gradient)
    for name, value in state.items():
        assert torch.equal(ranks[0][2][name], ranks[1][2][name]), name
        torch.testing.assert_close(ranks[0][2][name], value)
