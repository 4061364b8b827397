# One network with the compute of the three experts, of which at 16 x 16 pixels it has 1.004 times:
# 4.51 million multiply-adds and 114,000 parameters. The experts have 4.50 million and 127,000, the
# plain network 3.10 million and 75,000.
_base_ = 'post-compensation_resnet8_digits-lt.py'
model = dict(backbone=dict(widths=(19, 39, 80)), head=dict(in_channels=80))
