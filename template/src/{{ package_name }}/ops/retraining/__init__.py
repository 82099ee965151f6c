"""Training anew: labelled rows in, a challenger out."""
