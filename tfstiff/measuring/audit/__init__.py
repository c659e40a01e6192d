"""The audit of a model: is what is measured of it the model's own, and each example's own? One family of checks a file.

A check is a function that takes the `Subject` and returns what it `Found`, decorated with its name and its question:

    @check("order", "Does the order of the examples in a batch matter?")
    def order(subject):
        ...

Each compares two ways to one result, of which one is plain: the model as its user calls it, and one tape an example.
"""
