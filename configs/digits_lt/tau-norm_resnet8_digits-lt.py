# Cross-entropy, and the classifier's weights normalised at the test.
# tau: the best of 0.3 to 1.2 on the tuning split.
_base_ = 'ce_resnet8_digits-lt.py'
model = dict(head=dict(classifier=dict(type='lt_mm.TauNormLinear', tau=1.0)))
