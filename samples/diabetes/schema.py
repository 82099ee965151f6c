"""The contract: what is meant by a row, whatever the data at hand happen to show."""

import dataframely as dy


class Row(dy.Schema):
    """One diabetes patient, and how far the disease had progressed a year later.

    Data of Efron, Hastie, Johnstone and Tibshirani, "Least Angle Regression" (2004).
    """

    age = dy.Float64(min=0, max=120)
    sex = dy.Int64(is_in=[1, 2], metadata={"category": True, "sensitive": True})
    body_mass_index = dy.Float64(min_exclusive=0)
    blood_pressure = dy.Float64(min_exclusive=0)
    total_cholesterol = dy.Float64(min_exclusive=0)
    low_density_lipoproteins = dy.Float64(min_exclusive=0)
    high_density_lipoproteins = dy.Float64(min_exclusive=0)
    cholesterol_ratio = dy.Float64(min_exclusive=0)
    log_triglycerides = dy.Float64(min_exclusive=0)
    blood_sugar = dy.Float64(min_exclusive=0)
    progression = dy.Float64(min=0, metadata={"target": True})
