"""How good is a model, where is it weak, and is it good enough."""
