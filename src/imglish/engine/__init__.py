"""Loading a model and running it: what `imglish.load` returns, batches, decoding, streams."""
