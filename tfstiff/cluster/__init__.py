"""What work is spread over: the cores and GPUs of this machine, and Ray's clusters. Imports no TensorFlow."""
