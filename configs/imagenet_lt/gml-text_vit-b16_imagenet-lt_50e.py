# Table 4, ViT-B/16: GML with texts as centres (section 3.4; docs/text_centres.md), from CLIP's
# image encoder as mmpretrain converts it. Optimiser and epochs are those of VL-LTR's pre-training,
# batch 1024 as 8 x 128. VL-LTR's sampler is left out: with L_cls it would balance twice.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/vit_b16_clip.py',
    '../_base_/schedules/adamw_50e.py',
]
model = dict(
    type='lt_mm.LongTailClassifier',
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='data/clip_vit-b16.pth', prefix='visual')
    ),
    head=dict(
        contrast=dict(
            type='lt_mm.TextGMLLoss',
            text_features='data/imagenet/texts.npz',
            widths=(2048, 1024),
            mixture_temperature=0.07,
        )
    ),
)
# CLIP's.
data_preprocessor = dict(mean=[122.771, 116.746, 104.094], std=[68.501, 66.632, 70.323])
train_dataloader = dict(batch_size=128)
