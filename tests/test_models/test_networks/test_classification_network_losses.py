"""Every contrast loss of the package trains in a LongTailClassifier, built by config."""

import pytest
import torch

SMALL = dict(widths=(6, 5))
PEERS = {
    'supcon': dict(contrast=dict(type='lt_mm.SupConLoss', **SMALL)),
    'bcl': dict(contrast=dict(type='lt_mm.BCLLoss', **SMALL)),
    'paco': dict(contrast=dict(type='lt_mm.PaCoLoss', size=12, **SMALL)),
    'crd': dict(contrast=dict(type='lt_mm.CRDLoss', num_samples=9, num_negatives=4, dim=5)),
    'kd': dict(distillation=dict(type='lt_mm.KDLoss', temperature=4.0)),
    'gml': dict(contrast=dict(type='lt_mm.GMLLoss', size=40, min_size=8, **SMALL)),
}


@pytest.mark.parametrize('views', [2, 3])
@pytest.mark.parametrize('peer', PEERS)
def test_two_steps(build, batch, teacher, peer, views):
    changes = {}
    if peer in ('crd', 'kd', 'gml'):
        changes['teacher'] = teacher()
    if peer == 'paco':
        changes['key_momentum'] = 0.9
    model = build(head=dict(type='lt_mm.CosineClsHead', **PEERS[peer]), **changes)
    model.init_weights()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    before = {name: value.clone() for name, value in trained.items()}
    optimizer = torch.optim.SGD(trained.values(), lr=0.1)
    for _ in range(2):
        losses = model(*batch(views), mode='loss')
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    assert set(losses) >= {'loss_cls', f'loss_{peer}'}
    for name, value in trained.items():
        assert value.isfinite().all(), name
        # Batch normalisation takes the bias of the convolution away.
        assert not torch.equal(value, before[name]) or name.endswith('conv.bias'), name
