"""What a training, or several, say: curves, turning points, loss levels, contrasts, comparisons. No TensorFlow."""
