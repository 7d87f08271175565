"""Functions of torch in elementary operations, whose derivatives of every order are right.

Each has the arguments of the function in `torch.ops.aten` that it stands for, and returns None where torch's
own is as good.
"""
