# RIDE of six experts on CIFAR-100-LT, from which RIDE of three is distilled.
_base_ = 'ride_r32_cifar100-lt_200e.py'
model = dict(backbone=dict(num_experts=6), head=dict(experts=[dict()] * 6))
