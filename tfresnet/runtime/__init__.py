"""What a device runs: numpy, Pillow and an interpreter, and nothing of tfresnet beside this folder.

The bundle of an export copies the folder, under another name, beside its ``classify.py``. So the
modules import each other relatively. Importing the package loads none of them.
"""
