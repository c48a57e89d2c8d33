"""The tests of tfresnet."""

import os

# Before NumPy and scikit-learn are imported. As many processes test as there are cores: threads of
# theirs that wait by spinning take a core from another process (a t-SNE of 360 points took 31 s of
# processor time with two threads, 2 s with one). What is computed is the same.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import tfresnet  # noqa: F401  before TensorFlow, for which it chooses Keras 2 and oneDNN
