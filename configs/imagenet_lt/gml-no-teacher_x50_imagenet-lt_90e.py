# Table 5, GML without a teacher: keys are a momentum encoder's, as MoCo's are (section 3.3).
_base_ = 'gml_x50_imagenet-lt_90e.py'
model = dict(teacher=None, key_momentum=0.999)
earlier_stages = None
