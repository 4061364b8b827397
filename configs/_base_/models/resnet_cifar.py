# A ResNet of 6n+2 layers with the classifier that the GML paper gives every network of its own:
# cosine similarities over tau_s = 1/30, trained with L_cls.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='lt_mm.ResNetCifar6n2', depth=32),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='lt_mm.CosineClsHead', num_classes=100, in_channels=64, classifier_temperature=1 / 30
    ),
)
