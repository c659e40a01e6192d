"""Other libraries: a module each, with `gradient_rows`, and what they share.

`gradient_rows(name, weights, x, y)` takes the name of a model, its trainable weights as Keras has them, inputs and
labels; it returns a function of `start, stop` that computes these examples' gradients, (stop − start, P), as an array
of the library, and how the library was used, in a few words.
"""
