"""What runs on the device, and what measures it: nothing here imports TensorFlow."""
