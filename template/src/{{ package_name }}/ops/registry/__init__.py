"""The registry: which models there were, which one is champion, and why.

`tracking` keeps versions, aliases and the log of promotions in MLflow; `champion` is what they say
of the champion, and its files; `promotion` registers, promotes and rolls back, on the word of
`comparison`; `history` lists it all; `reproduction` trains a version again, from its `lineage`.
"""
