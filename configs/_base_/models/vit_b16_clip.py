# The image encoder of CLIP ViT-B/16 with the cosine classifier.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        layer_cfgs=dict(act_cfg=dict(type='QuickGELU')),
        pre_norm=True,
    ),
    neck=None,
    head=dict(
        type='lt_mm.CosineClsHead', num_classes=1000, in_channels=768, classifier_temperature=1 / 30
    ),
)
