"""Speed of the gradients on the machine and model at hand."""
