"""Records small models, inputs and predictions of XGBoost and LightGBM for TreeModelsTest.

Run once per set of library versions, in an environment with numpy, scipy and scikit-learn:
    pip install xgboost==3.1.1 lightgbm==4.7.0   &&  python generate.py all
    pip install xgboost==3.2.0 lightgbm==4.7.0   &&  python generate.py some
    pip install xgboost==2.1.4 lightgbm==4.3.0   &&  python generate.py some
    pip install xgboost==1.7.6 lightgbm==3.3.5   &&  python generate.py some old
Each case is a model file and CASE.expected.json: rows of inputs (null is missing), raw margins and
predictions, one row each, numbers in the shortest form that reads back to the same bits.
"""
import json
import sys

import lightgbm as lgb
import numpy as np
import xgboost as xgb

FULL = "all" in sys.argv
X_TAG = "x" + xgb.__version__.replace(".", "")
L_TAG = "l" + lgb.__version__.replace(".", "")
FEATURES = 5


def data(seed=7, rows=300, missing=0.15):
    rng = np.random.RandomState(seed)
    x = rng.randn(rows, FEATURES).astype(np.float32)
    x[:, 3] = rng.randint(0, 4, rows)
    x[:, 4] = np.where(rng.rand(rows) < 0.5, 0, x[:, 4])
    score = x[:, 0] + 0.5 * x[:, 1] * x[:, 2] - 0.7 * (x[:, 3] == 2) + 0.3 * rng.randn(rows)
    x[rng.rand(rows, FEATURES) < missing] = np.nan
    return x, score.astype(np.float32)


def edge_rows(thresholds):
    """Inputs at, just below and just above the splits, and the odd ones of IEEE 754."""
    x, _ = data(seed=11, rows=24)
    odd = [np.inf, -np.inf, -0.0, 0.0, 1e-40, -1e-40, 1e-35, 1e-36, -1e-34, 3e38, 16777216.0, -1.0, 0.5, -0.5]
    rows = [x]
    for i, value in enumerate(odd):
        row = x[i % len(x)].copy()
        row[i % FEATURES] = value
        rows.append(row[None, :])
        rows.append(np.full((1, FEATURES), value, np.float32))
    for i, (feature, value) in enumerate(thresholds[:12]):
        for v in (value, np.nextafter(np.float32(value), np.float32(-np.inf)), np.nextafter(np.float32(value), np.float32(np.inf))):
            row = x[i % len(x)].copy()
            row[feature] = v
            rows.append(row[None, :])
    rows.append(np.full((1, FEATURES), np.nan, np.float32))
    return np.concatenate(rows)


def numbers(a):
    a = np.asarray(a)
    a = a.reshape(a.shape[0], -1)
    out = []
    for row in a:
        out.append([None if np.isnan(v) else "Infinity" if v == np.inf else "-Infinity" if v == -np.inf
                    else float(str(v)) if a.dtype == np.float32 else float(v) for v in row])
    return out


def save(case, library, x, margin, predict, **more):
    doc = {"library": library, "inputs": numbers(x), "margin": numbers(margin), "predict": numbers(predict),
           "shape": list(np.asarray(predict).shape[1:]), **more}
    with open(case + ".expected.json", "w") as f:
        json.dump(doc, f, separators=(",", ":"))
        f.write("\n")


def x_thresholds(booster):
    model = json.loads(booster.save_raw(raw_format="json"))
    gb = model["learner"]["gradient_booster"]
    gb = gb.get("gbtree", gb)
    found = []
    for tree in gb["model"].get("trees", []):
        for left, feature, value, kind in zip(tree["left_children"], tree["split_indices"], tree["split_conditions"], tree["split_type"]):
            if left >= 0 and kind == 0:
                found.append((feature, value))
    return found[::max(1, len(found) // 12)]


def x_case(name, params, label=None, rounds=6, formats=("json",), missing=0.15, weight=None, x=None, rows=None, ranges=(), **train):
    train_x, score = data(missing=missing)
    x = train_x if x is None else x
    label = score if label is None else label(score)
    extra = {"group": [30] * 10} if "rank" in params.get("objective", "") else {}
    types = train.pop("types", None)
    d = xgb.DMatrix(x, None if params.get("objective") == "survival:aft" else label, feature_types=types,
                    enable_categorical=types is not None)
    if extra:
        d.set_group(extra["group"])
    if params.get("objective") == "survival:aft":
        d.set_float_info("label_lower_bound", np.abs(label) + 0.1)
        d.set_float_info("label_upper_bound", np.abs(label) * 2 + 0.1)
    if train.pop("stop", False):
        train.update(evals=[(d, "a")], early_stopping_rounds=2, verbose_eval=False)
    params = {"max_depth": 3, "seed": 3, "nthread": 1, "tree_method": "hist", **params}
    if params.get("booster") == "gblinear":
        params.pop("tree_method"), params.pop("max_depth")
    b = xgb.train(params, d, rounds, **train)
    for f in formats:
        b.save_model(f"{X_TAG}_{name}.{f}")
    test = edge_rows([] if params.get("booster") == "gblinear" else x_thresholds(b)) if rows is None else rows
    if params.get("booster") == "gblinear":
        test = data(seed=11, rows=24)[0]
    test = test[~np.isinf(test).any(axis=1)]  # the library refuses infinities
    t = xgb.DMatrix(test, feature_types=types, enable_categorical=types is not None)
    more = {"ranges": [{"begin": r[0], "end": r[1], "predict": numbers(b.predict(t, iteration_range=r))} for r in ranges]} if ranges else {}
    save(f"{X_TAG}_{name}", "xgboost " + xgb.__version__, test, b.predict(t, output_margin=True), b.predict(t), **more)
    return b


def categorical_data():
    x, score = data()
    rng = np.random.RandomState(5)
    x[:, 0] = rng.randint(0, 3, len(x))
    x[:, 1] = rng.randint(0, 70, len(x))
    x[rng.rand(*x.shape) < 0.1] = np.nan
    score = (score + np.where(np.isnan(x[:, 1]), 0, np.sin(x[:, 1]))).astype(np.float32)
    test = x[:40].copy()
    return x, score, test


def xgboost_cases():
    sign = lambda s: (s > 0).astype(int)
    third = lambda s: np.digitize(s, [-0.5, 0.7])
    positive = lambda s: np.floor(np.exp(np.clip(s, -2, 2)))
    x_case("binary", {"objective": "binary:logistic"}, sign, formats=("json", "ubj"))
    x_case("softprob", {"objective": "multi:softprob", "num_class": 3}, third, formats=("json", "ubj"))
    x_case("dart", {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.4}, sign, rounds=8, formats=("json", "ubj"), ranges=[(0, 3)])
    cx, cscore, ctest = categorical_data()
    for value, row in zip((-1.0, 69.0, 70.0, 71.0, 1000.0, 1e9, 2.9), range(7)):
        ctest[row, 1] = value
    x_case("categorical", {"objective": "reg:squarederror", "max_cat_to_onehot": 4}, lambda s: cscore, x=cx, rows=ctest,
           types=["c", "c", "q", "q", "q"], formats=("json", "ubj"))
    x_case("linear", {"objective": "reg:squarederror", "booster": "gblinear"}, formats=("json", "ubj"), missing=0)
    x_case("linear_softprob", {"objective": "multi:softprob", "num_class": 3, "booster": "gblinear"}, third, missing=0)
    x_case("poisson", {"objective": "count:poisson"}, positive)
    if "old" in sys.argv:
        b = x_case("old", {"objective": "binary:logistic"}, sign, rounds=1)
        b.save_model(f"{X_TAG}_old.bst")
    if not FULL:
        return
    for name, objective, label in (
        ("squarederror", "reg:squarederror", None), ("reglogistic", "reg:logistic", sign), ("logitraw", "binary:logitraw", sign),
        ("hinge", "binary:hinge", sign), ("gamma", "reg:gamma", lambda s: np.exp(s)), ("tweedie", "reg:tweedie", positive),
        ("pairwise", "rank:pairwise", third), ("ndcg", "rank:ndcg", third), ("map", "rank:map", sign),
        ("cox", "survival:cox", lambda s: np.exp(s)), ("aft", "survival:aft", None), ("absolute", "reg:absoluteerror", None),
        ("huber", "reg:pseudohubererror", None), ("squaredlog", "reg:squaredlogerror", lambda s: np.exp(s)),
    ):
        x_case(name, {"objective": objective}, label, rounds=4)
    x_case("softmax", {"objective": "multi:softmax", "num_class": 3}, third)
    x_case("base", {"objective": "binary:logistic", "base_score": 0.3}, sign)
    x_case("quantile", {"objective": "reg:quantileerror", "quantile_alpha": np.array([0.1, 0.5, 0.9])}, rounds=3)
    x_case("forest", {"objective": "multi:softprob", "num_class": 3, "num_parallel_tree": 3, "subsample": 0.6}, third, rounds=3,
           ranges=[(0, 1), (1, 3)])
    x_case("stopped", {"objective": "binary:logistic", "learning_rate": 3.0, "max_depth": 6}, sign, rounds=12, stop=True, ranges=[(0, 2)])
    x_case("targets", {"objective": "reg:squarederror"}, lambda s: np.stack([s, -2 * s, s * s], 1), rounds=4)
    x_case("vector_leaf", {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree"},
           lambda s: np.stack([s, -2 * s], 1), rounds=2, formats=("json", "ubj"))
    x_case("deep", {"objective": "reg:squarederror", "max_depth": 9, "min_child_weight": 0, "tree_method": "exact"}, rounds=3)


def l_case(name, params, label=None, rounds=6, missing=0.15, x=None, rows=None, categorical="auto", free=False, ranges=(), **more_train):
    train_x, score = data(missing=missing)
    x = (train_x if x is None else x).astype(np.float64)
    label = score if label is None else label(score)
    params = {"num_leaves": 7, "min_data_in_leaf": 5, "verbose": -1, "seed": 3, "num_threads": 1, "deterministic": True, **params}
    d = lgb.Dataset(x, label, categorical_feature=categorical, params=params, free_raw_data=False,
                    group=[30] * 10 if "rank" in str(params.get("objective")) else None)
    b = lgb.train(params, d, rounds, **more_train)
    path = f"{L_TAG}_{name}.txt"
    b.save_model(path)
    b = lgb.Booster(model_file=path)
    splits = []
    for tree in b.dump_model()["tree_info"]:
        def walk(node):
            if "split_feature" in node:
                if node["decision_type"] == "<=":
                    splits.append((node["split_feature"], node["threshold"]))
                walk(node["left_child"]), walk(node["right_child"])
        walk(tree["tree_structure"])
    test = edge_rows([]).astype(np.float64) if rows is None else rows.astype(np.float64)
    if rows is None:
        for i, (feature, value) in enumerate(splits[::max(1, len(splits) // 12)][:12]):
            for v in (value, np.nextafter(value, -np.inf), np.nextafter(value, np.inf)):
                row = test[i].copy()
                row[feature] = v
                test = np.concatenate([test, row[None, :]])
    options = {"num_threads": 1}
    more = {"ranges": [{"begin": r[0], "end": r[1], "predict": numbers(b.predict(test, start_iteration=r[0], num_iteration=r[1] - r[0], **options))}
                       for r in ranges]} if ranges else {}
    save(f"{L_TAG}_{name}", "lightgbm " + lgb.__version__, test, b.predict(test, raw_score=True, **options), b.predict(test, **options), **more)


def lightgbm_cases():
    sign = lambda s: (s > 0).astype(int)
    third = lambda s: np.digitize(s, [-0.5, 0.7])
    positive = lambda s: np.floor(np.exp(np.clip(s, -2, 2)))
    unit = lambda s: 1 / (1 + np.exp(-s))
    l_case("binary", {"objective": "binary", "sigmoid": 1.5}, sign)
    l_case("zero_missing", {"objective": "binary", "zero_as_missing": True}, sign)
    cx, cscore, ctest = categorical_data()
    for value, row in zip((-1.0, -0.5, 69.0, 70.0, 2.9, 1000.0, 1e12, np.inf, -np.inf), range(9)):
        ctest[row, 1] = value
    l_case("categorical", {"objective": "regression", "min_data_per_group": 1, "cat_smooth": 1, "max_cat_to_onehot": 2}, lambda s: cscore,
           x=cx, rows=ctest, categorical=[0, 1])
    l_case("multiclass", {"objective": "multiclass", "num_class": 3}, third, ranges=[(0, 2), (1, 4)])
    l_case("linear_tree", {"objective": "regression", "linear_tree": True})
    l_case("sqrt", {"objective": "regression", "reg_sqrt": True})
    l_case("rf", {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, sign, ranges=[(0, 3)])
    if not FULL:
        return
    l_case("no_missing", {"objective": "regression", "use_missing": False})
    l_case("complete", {"objective": "regression"}, missing=0)
    l_case("ova", {"objective": "multiclassova", "num_class": 3, "sigmoid": 2.0}, third)
    l_case("dart", {"objective": "binary", "boosting": "dart", "drop_rate": 0.5}, sign)
    l_case("linear_multiclass", {"objective": "multiclass", "num_class": 3, "linear_tree": True}, third, rounds=3)
    for name, objective, label in (
        ("poisson", "poisson", positive), ("gamma", "gamma", lambda s: np.exp(s)), ("tweedie", "tweedie", positive),
        ("cross_entropy", "cross_entropy", unit), ("cross_entropy_lambda", "cross_entropy_lambda", unit),
        ("lambdarank", "lambdarank", third), ("xendcg", "rank_xendcg", third), ("quantile", "quantile", None),
        ("huber", "huber", None), ("fair", "fair", None), ("l1", "regression_l1", None), ("mape", "mape", None),
    ):
        l_case(name, {"objective": objective}, label, rounds=3)
    l_case("stump", {"objective": "regression", "min_data_in_leaf": 1000})
    l_case("custom", {"objective": lambda p, d: (p - d.get_label(), np.ones_like(p))})


xgboost_cases()
lightgbm_cases()
