# The second stage of decoupled training: 200 iterations of batch 32, after 800 of the first, so that
# both together are as long as the trainings in one stage. The same for all methods that have it.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', end=20, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=20)
val_cfg = dict()
test_cfg = dict()
# cfg_options of the first stage.
first_stage = dict(train_cfg=dict(max_epochs=80), param_scheduler={'1': dict(end=80)})
