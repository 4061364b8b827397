# Cross-entropy, and the prior taken off the logits at the test.
_base_ = 'ce_resnet8_digits-lt.py'
model = dict(head=dict(post_compensation=dict()))
