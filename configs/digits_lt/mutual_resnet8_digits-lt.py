# Mutual learning of Park et al. (WACV 2023), reconstructed without the paper's main text:
# cross-entropy, and KL to what the other experts predict; the prior is taken off at the test.
_base_ = 'experts_resnet8_digits-lt.py'
model = dict(head=dict(interplay=dict(type='lt_mm.MutualLoss')))
