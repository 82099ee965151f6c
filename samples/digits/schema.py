"""The contract: what is meant by a row, whatever the data at hand happen to show."""

import dataframely as dy


class Row(dy.Schema):
    """One digit that a person wrote by hand, scanned to 8 by 8 pixels.

    Optical recognition of handwritten digits (Alpaydin, Kaynak; 1998). A pixel is the ink in a
    square of 4 by 4 dots: 0 for none, 16 for all of it. They stand row by row, from the top left.
    """

    image = dy.Array(dy.UInt8(max=16), 64)
    digit = dy.Int64(is_in=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], metadata={"target": True})
