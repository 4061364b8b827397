# DisAlign: factors and offsets on a frozen network, under inverse frequencies. As in the public
# code, the statistics of batch normalisation follow the training.
_base_ = 'lws_resnet8_digits-lt.py'
weights = dict(type='inverse', power=1.2)
model = dict(
    head=dict(
        alignment=dict(_delete_=True, type='lt_mm.DisAlign'),
        loss=dict(_delete_=True, type='lt_mm.WeightedCrossEntropyLoss', class_weight=weights),
    )
)
train_dataloader = dict(sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
