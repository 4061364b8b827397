# RIDE of six experts, the teacher of ride-kd.
_base_ = 'ride_resnet8_digits-lt.py'
model = dict(backbone=dict(num_experts=6), head=dict(experts=[dict()] * 6))
