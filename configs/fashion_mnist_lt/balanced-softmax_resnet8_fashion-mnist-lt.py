# Cross-entropy with the prior added to the logits: to a linear classifier, or a cosine one.
_base_ = 'ce_resnet8_fashion-mnist-lt.py'
model = dict(head=dict(loss=dict(alpha=1.0)))
head = dict(classifier='cosine', classifier_temperature=0.05)
variants = dict(_delete_=True, cosine20=dict(model=dict(head=head)))
