"""Modules that go with exported models as they are: they import the mm packages and never lt_mm.

They register with mmsegmentation or mmpretrain, by force: an exported model brings its own copy
along, also where lt_mm is installed.
"""
