# RIDE on a network of experts, with the settings of its public configs: margins of LDAM, scale 30.
# The weights of classes and their temperatures are for lt_mm.DeferredHook to set in.
ride = dict(
    classifier='cosine',
    classifier_temperature=1 / 30,
    # Short vectors to begin with, as those of a linear classifier: they turn the faster.
    init_cfg=dict(type='Normal', std=0.01, override=dict(name='fc')),
    loss=dict(
        _delete_=True,
        type='lt_mm.LDAMLoss',
        scale=30.0,
        class_weight=dict(type='effective_number', beta=0.9999),
    ),
    interplay=dict(type='lt_mm.DiversityLoss', class_factor=0.05, loss_weight=-0.45),
)
# As published, a mean of losses with class weights is one over the weights, not over the images.
published_loss = dict(ride['loss'], average='weights')
ride_of_cifar = dict(ride, loss=published_loss)
interplay_of_photos = dict(type='lt_mm.DiversityLoss', class_factor=0.02, loss_weight=-0.2)
ride_of_photos = dict(ride_of_cifar, interplay=interplay_of_photos)
# The second stage: routers learn, on balanced batches, how many of the frozen experts to ask.
routed = dict(type='lt_mm.RoutedClsHead', pos_weight=100.0, expert_predictions=False)
balanced_sampler = dict(_delete_=True, type='lt_mm.ClassBalancedSampler')
