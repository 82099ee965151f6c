"""The contract: what is meant by a row, whatever the data at hand happen to show."""

import dataframely as dy
import polars as pl


class Row(dy.Schema):
    """One tumour: what a pathologist measured in an image of its cell nuclei.

    Wisconsin diagnostic breast cancer data (Wolberg, Street, Mangasarian; 1995). Each
    measurement comes as the mean over all nuclei of the image, its standard error, and the
    mean of the three largest ("worst").
    """

    mean_radius = dy.Float64(alias="mean radius", min=0)
    mean_texture = dy.Float64(alias="mean texture", min=0)
    mean_perimeter = dy.Float64(alias="mean perimeter", min=0)
    mean_area = dy.Float64(alias="mean area", min=0)
    mean_smoothness = dy.Float64(alias="mean smoothness", min=0)
    mean_compactness = dy.Float64(alias="mean compactness", min=0)
    mean_concavity = dy.Float64(alias="mean concavity", min=0)
    mean_concave_points = dy.Float64(alias="mean concave points", min=0)
    mean_symmetry = dy.Float64(alias="mean symmetry", min=0)
    mean_fractal_dimension = dy.Float64(alias="mean fractal dimension", min=0)
    radius_error = dy.Float64(alias="radius error", min=0)
    texture_error = dy.Float64(alias="texture error", min=0)
    perimeter_error = dy.Float64(alias="perimeter error", min=0)
    area_error = dy.Float64(alias="area error", min=0)
    smoothness_error = dy.Float64(alias="smoothness error", min=0)
    compactness_error = dy.Float64(alias="compactness error", min=0)
    concavity_error = dy.Float64(alias="concavity error", min=0)
    concave_points_error = dy.Float64(alias="concave points error", min=0)
    symmetry_error = dy.Float64(alias="symmetry error", min=0)
    fractal_dimension_error = dy.Float64(alias="fractal dimension error", min=0)
    worst_radius = dy.Float64(alias="worst radius", min=0)
    worst_texture = dy.Float64(alias="worst texture", min=0)
    worst_perimeter = dy.Float64(alias="worst perimeter", min=0)
    worst_area = dy.Float64(alias="worst area", min=0)
    worst_smoothness = dy.Float64(alias="worst smoothness", min=0)
    worst_compactness = dy.Float64(alias="worst compactness", min=0)
    worst_concavity = dy.Float64(alias="worst concavity", min=0)
    worst_concave_points = dy.Float64(alias="worst concave points", min=0)
    worst_symmetry = dy.Float64(alias="worst symmetry", min=0)
    worst_fractal_dimension = dy.Float64(alias="worst fractal dimension", min=0)
    diagnosis = dy.Enum(["benign", "malignant"], metadata={"target": True})

    @dy.rule()
    def worst_is_at_least_mean(cls) -> pl.Expr:
        """The mean of the three largest radii cannot be below the mean of all."""
        return pl.col("worst radius") >= pl.col("mean radius")
