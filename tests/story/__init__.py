"""`make story`: a model that is served while the world changes, and what its loop makes of it."""
