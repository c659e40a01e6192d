"""Speed of the gradients on the machine and model at hand."""

# The row of the gradients themselves, without their products, by the method "auto".
GRADIENTS = "per_example_gradients"
