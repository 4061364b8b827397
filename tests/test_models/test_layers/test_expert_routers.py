"""ExpertRouters against their formula."""

import pytest
import torch

from lt_mm.models.layers import ExpertRouters


@pytest.mark.parametrize('share', [True, False])
def test_score(share):
    routers = ExpertRouters(3, 6, top_k=2, hidden_channels=4, share_output=share).double()
    features, logits = torch.randn(5, 6).double(), torch.randn(5, 4).double()
    for index in range(2):
        hidden, output = routers.hidden[index], routers.output[0 if share else index]
        for n, score in enumerate(routers(index, features, logits)):
            direction = features[n] / features[n].square().sum().sqrt()
            inner = (hidden.weight @ direction + hidden.bias).clamp(min=0)
            best = sorted(logits[n].tolist(), reverse=True)[:2]
            expected = output.weight[0] @ torch.cat([torch.tensor(best).double(), inner])
            torch.testing.assert_close(score, expected + output.bias[0])


def test_which_parameters_learn():
    routers = ExpertRouters(3, 6, share_output=False)
    routers(1, torch.randn(5, 6), torch.randn(5, 8)).sum().backward()
    learnt = {name for name, value in routers.named_parameters() if value.grad is not None}
    assert learnt == {
        f'{layer}.1.{kind}' for layer in ('hidden', 'output') for kind in ('weight', 'bias')
    }


def test_features_of_length_zero_half_precision_and_no_images():
    routers = ExpertRouters(2, 6)
    assert routers(0, torch.zeros(1, 6), torch.zeros(1, 5)).isfinite().all()
    assert routers(0, torch.zeros(0, 6), torch.zeros(0, 5)).shape == (0,)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert routers(0, torch.randn(3, 6), torch.randn(3, 5)).isfinite().all()
