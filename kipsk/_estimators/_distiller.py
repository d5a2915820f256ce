"""What all distillers share: data in, a support set out, and the predictor that it is."""

from __future__ import annotations

import inspect
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from kipsk._checks import check_auto, check_integer, check_not_images, check_option, refuse
from kipsk._data._coding import Coding, Data
from kipsk._data._support import Support
from kipsk._estimators import _support_file, _support_table, _support_torch
from kipsk._estimators._kernel_ridge import Asker, KernelRidgeNTK
from kipsk._estimators._members import Member, copied, is_same_kernel
from kipsk._estimators._pictures import thumbnails
from kipsk._estimators._rounding import warn_of_rounding
from kipsk._types import AnyArray, Estimator, Float64s, Floats, Given, MatrixLike
from kipsk.architectures._layers import checked_shape
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import of_images

# Of fitted attributes those that a fit sets before it begins, and those that no user reads.
_OF_INPUT = ("n_features_in_", "feature_names_in_")
_PRIVATE = ("_mosaic", "_size", "_stream")


class BaseDistiller(BaseEstimator):
    """A model that is a small support set.

    Subclasses have the parameters ``kernel``, ``image_shape``, ``reg``, ``block_size``, ``dtype``
    and ``verbose``, call `_kernel_and_reg` and `_validate` in `fit`, and store what `_fitted`
    returns.
    """

    _coding: ClassVar[type[Coding]]
    kernel: Given
    image_shape: Given
    reg: float | str
    block_size: int | str
    dtype: str
    verbose: int
    X_s_: Floats
    y_s_: Float64s
    # The kernels of the last fit: `kernel` itself may have been set anew since.
    _members: list[Member]

    @abstractmethod
    def fit(self, X: MatrixLike, y: MatrixLike) -> Self:
        """Learn the support set."""

    def fit_distill(self, X: MatrixLike, y: MatrixLike) -> tuple[Floats, Float64s]:
        """Fit and return the support set with its soft labels or real targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, images flattened.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels of any type in one dimension; of a regressor, numbers.

        Returns
        -------
        X_s : ndarray of shape (n_support, n_features)
            A copy of `X_s_`.
        y_s : ndarray of shape (n_support, n_classes), or of y with n_support rows
            Of a classifier centred: real class labels would be one-hot minus ``1 / n_classes``. Of
            a regressor in the units of y. They train `KernelRidgeNTK` and other regressors.
        """
        self.fit(X, y)
        return self.X_s_.copy(), self.y_s_.copy()

    def evaluate(
        self, X: MatrixLike, y: MatrixLike, kernels: Sequence[str | JaxKernel] | None = None
    ) -> dict[str, float]:
        """Return the score of the support set under several kernels: accuracy, or R2.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score on, as in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels or targets.
        kernels : sequence of str or kernel objects, default=None
            Any, also such that the set was not made for: their "auto" values are set from the
            support. None is what the estimator was given, all of a family, as it was fitted.

        Returns
        -------
        scores : dict of str to float
            By the kernel's name, or what the object prints.
        """
        check_is_fitted(self, "predictor_")
        check_not_images("X", X)
        self._coding.check(y)
        X, y = validate_data(self, X, y, dtype=self.dtype, reset=False, **self._coding.validation)
        X = self._into_space(X)
        y_s = self._coding.of_attributes(vars(self)).given(self.y_s_)
        if isinstance(kernels, str | JaxKernel):
            kernels = [kernels]
        members = self._members if kernels is None else map(self._member, kernels)
        found = {}
        for given, kernel, reg in members:
            predictor = self._predictor(kernel.for_prediction(), reg, self.X_s_, y_s)
            found[str(given)] = self._score_of(predictor.predict(X), y)
        return found

    @abstractmethod
    def _score_of(self, predictions: Float64s, y: AnyArray) -> float:
        """Return how well predicted targets of shape (n, n_outputs) say what y is."""

    def export_support(self, path: str | os.PathLike[str], *, space: str | None = None) -> None:
        """Write the support set as .npz, which `load_support` reads, as CSV, or for PyTorch.

        An .npz file has the keys that published sets have: ``images`` are `X_s_`, of shape
        (n_support, H, W, C) if the estimator knows the shape of images and (n_support, n_features)
        if not, in the units that the kernel sees; ``labels`` are `y_s_`; ``classes`` and
        ``metadata``, a JSON text, say the rest. With a `factor` above 1 the key is ``mosaics`` in
        place of ``images``, and holds `mosaics_`. No pickles are written.

        A CSV table has the columns of `to_frame`.

        A .pt file is a dict of tensors: ``images`` (n_support, C, H, W), or (n_support, n_features)
        if the shape of images is not known, in the units of X; ``labels`` are `y_s_`; of a
        classifier ``hard_labels`` are the numbers of their largest entries among ``classes``.

        Parameters
        ----------
        path : str or path-like
            The file to write. Its ending says what it is, ".npz", ".csv" or ".pt".
        space : {"original", "kernel"}, default=None
            Of a .pt file: rows in the units of X, where a `preprocess` such as whitening is undone
            (None stands for it), or as the kernel sees them. Other files hold these alone.

        Raises
        ------
        ValueError
            For any other ending, and a `space` that the file cannot have.
        ImportError
            For a .pt file, if PyTorch is not installed.
        """
        check_is_fitted(self, "predictor_")
        ending = os.path.splitext(os.fspath(path))[1].lower()
        if ending != ".pt" and space not in (None, "kernel"):
            rule = f"None or 'kernel' for a file that ends in {ending!r}: use '.pt' for other units"
            raise refuse("export_support", "space", rule, space)
        match ending:
            case ".npz":
                _support_file.write(self, path)
            case ".csv":
                _support_table.write_csv(self, path)
            case ".pt":
                _support_torch.write(self, path, space or "original")
            case _:
                rule = 'the path of a file whose name ends in ".npz", ".csv" or ".pt"'
                raise ValueError(
                    f"{refuse('export_support', 'path', rule, os.fspath(path))} For other formats "
                    "write the result of `to_frame`, for instance with to_frame().to_parquet(path)."
                )

    def to_frame(self) -> MatrixLike:
        """Return the support set as a table of pandas, one line a row.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_support, n_columns)
            The features, in the units of `X_s_`, with their names, or "x0", "x1" and so on. Then,
            of a classifier, "class", the class of the largest label, and "label CLASS" for each
            class, its column of `y_s_`. Of a regressor "target", or "target 0" and so on.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If a feature has the name of a column of labels.
        """
        check_is_fitted(self, "predictor_")
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas: pip install pandas. Without it export_support('set.csv') "
                "writes the same table."
            ) from error
        names, columns = _support_table.named_columns(self)
        return pd.DataFrame(dict(zip(names, columns, strict=True)))

    def load_support(self, path: str | os.PathLike[str]) -> Self:
        """Become what was exported, or a published set.

        The kernel that predicts is the file's, if `kernel` has its default value and the file says
        which one that is (published sets do not). Any other `kernel` stays, with a warning if it is
        not the file's. What `kernel` and `reg` leave open ("auto", None for the shape of images) is
        as it was when the set was made. A later `fit` or `partial_fit` goes by the parameter
        `kernel` again.

        Parameters
        ----------
        path : str or path-like
            An .npz file with ``images`` (n_support, ...) and ``labels``; ``mosaics`` in place of
            images are enlarged, whatever `factor` is. Labels of shape
            (n_support, n_classes) are soft: their columns are the classes in ``classes``, or 0, 1,
            and so on if the file has none. Labels of shape (n_support,) are class labels, among
            ``classes`` if the file has them; if not, the labels in the file are all classes.

        Returns
        -------
        self
            Fitted: `predict` and `score` work.

        Raises
        ------
        ValueError
            If the file is damaged or no support set, or is of a model of the other kind.
        """
        own, reg = self._kernel_and_reg()
        if getattr(self, "preprocess", None) is not None:
            raise ValueError(
                "A file holds no fitted transformer. Put it before the distiller in a Pipeline, "
                "and load into one with preprocess=None."
            )
        stored = _support_file.read(path, self._coding, self.dtype)
        support, metadata = stored.support, stored.metadata
        loaded = _support_file.kernels_to_load(
            path, type(self).__name__, own, self._has_default_kernel(), metadata
        )
        kernel = loaded.kernel.resolve(support.X)
        if self.reg == "auto" and _support_file.is_of_kind(loaded.kernel, metadata):
            reg = float(metadata["reg"])
        predict_kernel = (loaded.predict_kernel or kernel.for_prediction()).resolve(support.X)
        if getattr(self, "predict_kernel", None) is not None:
            predict_kernel = self._get_kernel(self.predict_kernel).resolve(support.X)
        given = kernel if loaded.is_stored else self._kernels()[0]
        members = [Member(given, kernel, reg)]
        attributes = self._fitted(support, stored.coding, members, predict_kernel)
        if stored.feature_names is not None:
            attributes["feature_names_in_"] = stored.feature_names.astype(object)
        if stored.mosaics is not None:
            attributes["mosaics_"], attributes["_mosaic"] = stored.mosaics, stored.mosaic
        if metadata.get("temperature") is not None:
            attributes["temperature_"] = float(metadata["temperature"])
        self.__dict__.pop("feature_names_in_", None)  # a file need not have them
        self._publish(attributes)
        self.n_features_in_ = support.X.shape[1]
        # Other members of a family are not in the file: they are set from the support.
        self._members += [self._member(copied(given)) for given in self._kernels()[1:]]
        return self

    @property
    def _repr_html_(self) -> Callable[[], str]:
        """Scikit-learn's diagram and the support as small images; no attribute if it has none."""
        diagram = super()._repr_html_
        return lambda: diagram() + thumbnails(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:  # not with sklearn.set_config(display="text")
            bundle["text/html"] += thumbnails(self)
        return bundle

    def _into_space(self, X: Floats) -> Floats:
        """Return validated rows as the kernel sees them."""
        return X

    def _predict_targets(self, X: MatrixLike) -> Float64s:
        check_is_fitted(self, "predictor_")
        check_not_images("X", X)
        X = validate_data(self, X, dtype=self.dtype, reset=False)
        return self.predictor_.predict(self._into_space(X))

    def _kernels(self) -> list[Given]:
        """Return the kernels as the user gave them."""
        return [self.kernel]

    def _has_default_kernel(self) -> bool:
        """Return whether the user left `kernel` as it is if nothing is said."""
        default = inspect.signature(type(self)).parameters["kernel"].default
        return is_same_kernel(self.kernel, default)

    def _get_kernel(self, kernel: Given) -> JaxKernel:
        """Return a kernel object that knows the images' shape."""
        return of_images(kernel, self.image_shape)

    def _member(self, given: Given) -> Member:
        """Return a kernel as it was in `fit`, or, if it was not there, set from the support."""
        for member in self._members:
            if is_same_kernel(given, member.given):
                return member
        kernel = self._get_kernel(given).resolve(self.X_s_)
        reg = check_auto(type(self).__name__, "reg", self.reg, self._auto_reg(kernel), zero=True)
        return Member(given, kernel, reg)

    def _auto_reg(self, kernel: JaxKernel) -> float:
        """Return what ``reg="auto"`` is for a kernel that was not in `fit`."""
        return kernel.recommended_reg

    def _kernel_and_reg(self) -> tuple[JaxKernel, float]:
        """Check the parameters that all distillers have; return the kernel and relative ridge."""
        name = type(self).__name__
        check_option(name, "dtype", self.dtype, ("float32", "float64"))
        if self.block_size != "auto":
            check_integer(name, "block_size", self.block_size, minimum=1, also=' or "auto"')
        if self.image_shape is not None:
            checked_shape(name, "image_shape", self.image_shape, n_dims=(3,))
        kernel = self._get_kernel(self._kernels()[0])
        return kernel, check_auto(name, "reg", self.reg, kernel.recommended_reg, zero=True)

    def _validate(self, X: MatrixLike, y: MatrixLike) -> Data:
        """Check the data."""
        check_not_images("X", X)
        self._coding.check(y)
        given = X
        X, y = validate_data(self, X, y, dtype=self.dtype, **self._coding.validation)
        self._check_image_shape(X)
        names = getattr(self, "feature_names_in_", None)
        warn_of_rounding(type(self).__name__, given, X, names)
        return Data(X, *self._coding.encode(type(self).__name__, y, X.dtype))

    def _check_image_shape(self, X: Floats) -> None:
        if self.image_shape is not None and math.prod(self.image_shape) != X.shape[1]:
            rule = f"(height, width, channels) of the images whose {X.shape[1]} values are a row"
            raise refuse(type(self).__name__, "image_shape", rule, self.image_shape)

    def _predictor(
        self,
        kernel: JaxKernel,
        reg: float,
        X_s: Floats,
        y_s: Floats,
    ) -> KernelRidgeNTK:
        """Return kernel ridge regression on a support set with its targets."""
        predictor = KernelRidgeNTK(
            kernel,
            reg=reg,
            block_size=self.block_size,
            dtype="auto" if self.dtype == "float32" else self.dtype,
            verbose=self.verbose,
        )
        return predictor._fit(X_s, y_s, asker=Asker(type(self).__name__, self.dtype))

    def _publish(self, attributes: Mapping[str, Any]) -> None:
        """Store fitted attributes, and forget all that an earlier fit has left but the input's."""
        for name in list(vars(self)):
            is_fitted = name.endswith("_") and name not in _OF_INPUT
            if is_fitted or name in _PRIVATE:
                self.__dict__.pop(name)
        self.__dict__.update(attributes)

    def _take_names(self, moments: Estimator) -> None:
        """Take the number and the names of the features over from moments."""
        for name in _OF_INPUT:
            self.__dict__.pop(name, None)
            if hasattr(moments, name):
                setattr(self, name, getattr(moments, name))

    def _fitted(
        self,
        support: Support,
        coding: Coding,
        members: Sequence[Member],
        predict_kernel: JaxKernel | None = None,
    ) -> dict[str, Any]:
        """Return the fitted attributes: the support set and the predictor that it is, as numpy.

        Parameters
        ----------
        support : Support
        coding : Coding
            What its targets stand for.
        members : sequence of Member
            The kernels that it was made for; the first one predicts, unless `predict_kernel` is
            given.
        """
        X_s, y_s = np.array(support.X, dtype=self.dtype), np.array(support.y, dtype=np.float64)
        first = members[0]
        return {
            "X_s_": X_s,
            "y_s_": coding.published(y_s),
            **coding.attributes,
            "kernel_": first.kernel,
            "reg_": first.reg,
            "predictor_": self._predictor(predict_kernel or first.kernel, first.reg, X_s, y_s),
            "_members": [Member(*map(copied, member)) for member in members],
        }
