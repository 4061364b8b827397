# Table 6: the teacher ResNet-34.
_base_ = 'gml_x50_imagenet-lt_90e.py'
model = dict(head=dict(contrast=dict(key_channels=512)))
earlier_stages = dict(teacher=dict(config='{{ fileDirname }}/cosine_r34_imagenet-lt_90e.py'))
