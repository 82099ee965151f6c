"""What the model is for: asked, kept, and shown on its card."""
