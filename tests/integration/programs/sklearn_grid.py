"""A grid search of scikit-learn, through joblib's backend "ray"."""

import joblib
from ray.util.joblib import register_ray
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC


def main() -> None:
    images, digits = load_digits(return_X_y=True)
    images, digits = images[:300], digits[:300]
    grid = {"C": [1, 10], "gamma": [1e-3, 1e-2]}
    register_ray()
    with joblib.parallel_config("ray"):
        search = GridSearchCV(SVC(), grid, cv=3).fit(images, digits)
        forest = RandomForestClassifier(20, random_state=0, n_jobs=2).fit(images, digits)
    alone = GridSearchCV(SVC(), grid, cv=3).fit(images, digits)
    assert search.best_params_ == alone.best_params_
    assert (search.cv_results_["mean_test_score"] == alone.cv_results_["mean_test_score"]).all()
    assert forest.score(images, digits) > 0.95
    print("the same search")


if __name__ == "__main__":
    main()
