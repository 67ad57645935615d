"""The types of compact columns of numbers: arrays of the standard library with the type of their items."""

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Wholes = array[int]
    Floats = array[float]
else:  # arrays take a type parameter at run time only from Python 3.12
    Wholes = Floats = array
