# Table 3 of Jamal et al., LDAM, on a cosine classifier.
_base_ = 'meta_r32_cifar100-lt_200e.py'
loss = dict(_delete_=True, type='lt_mm.LDAMLoss')
model = dict(head=dict(classifier='cosine', classifier_temperature=1 / 30, loss=loss))
