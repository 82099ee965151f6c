"""What a model says of rows: of frames in memory (`rows`), and of files of any size (`files`)."""

from .rows import BATCH_ROWS, answers, columns_of, in_batches, predict, unfit

__all__ = ["BATCH_ROWS", "answers", "columns_of", "in_batches", "predict", "unfit"]
