"""The operations around the model, kept current by the template."""
