"""From merge to production: which image and which version of the model run where."""
