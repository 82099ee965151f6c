"""The training of the default project as one plain script."""

import mlflow
import numpy as np
from mlflow.models import infer_signature
from sklearn.datasets import load_breast_cancer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 7
MODELS = {
    "trivial": DummyClassifier(strategy="prior"),
    "linear": make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=1000)
    ),
    "boosting": HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=300,
        max_leaf_nodes=15,
        max_features=0.5,
        min_samples_leaf=20,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=SEED,
    ),
}

features, labels = load_breast_cancer(return_X_y=True)
train, holdout, train_labels, holdout_labels = train_test_split(
    features.astype(np.float32), labels, test_size=0.2, random_state=SEED
)
validation = {
    name: cross_val_score(model, train, train_labels, scoring="roc_auc", cv=5).mean()
    for name, model in MODELS.items()
}
chosen = max(validation, key=validation.__getitem__)
model = MODELS[chosen].fit(train, train_labels)
probabilities = model.predict_proba(holdout)
metrics = {
    "roc_auc": roc_auc_score(holdout_labels, probabilities[:, 1]),
    "average_precision": average_precision_score(holdout_labels, probabilities[:, 1]),
    "accuracy": accuracy_score(holdout_labels, probabilities.argmax(axis=1)),
    "log_loss": log_loss(holdout_labels, probabilities),
}

mlflow.set_tracking_uri("sqlite:///mlflow.db")
with mlflow.start_run():
    mlflow.log_params({"model": chosen, "seed": SEED})
    mlflow.log_metrics(
        metrics | {f"validation_{name}": value for name, value in validation.items()}
    )
    registered = mlflow.sklearn.log_model(
        model,
        name="model",
        serialization_format="cloudpickle",
        signature=infer_signature(holdout, probabilities),
        pip_requirements=["scikit-learn"],
        registered_model_name="breast-cancer",
    )
client = mlflow.MlflowClient()
client.set_registered_model_alias("breast-cancer", "champion", registered.registered_model_version)
print(f"{chosen}: {metrics}")
