"""The Fréchet distance between two sets of features, each summed up by its mean and covariance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass
class Moments:
    """Mean and covariance of features (D,) that come in batches; none is kept, so memory does not grow with their number.

    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances (1979).
    """

    size: int  # D
    count: int = 0
    mean: np.ndarray = field(init=False)  # (D,) float64
    _scatter: np.ndarray = field(init=False, repr=False)  # (D, D) float64, sum of products of deviations from the mean

    def __post_init__(self) -> None:
        import numpy as np

        self.mean, self._scatter = np.zeros(self.size), np.zeros((self.size, self.size))

    def add(self, features: np.ndarray) -> None:
        """Take in a batch (N, D)."""
        import numpy as np

        n, total = len(features), self.count + len(features)
        mean = features.mean(0, dtype=np.float64)
        deviations, step = features - mean, mean - self.mean
        self._scatter += deviations.T @ deviations + np.outer(step, step) * (n * self.count / total)
        self.mean = self.mean + step * (n / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased covariance (D, D). Raises: ValueError for fewer than two features."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 frames, there is {self.count}")
        return self._scatter / (self.count - 1)


def frechet_distance(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """Return |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)) of two Gaussians, means (D,) and covariances (D, D).

    With A = R R^T, A B has the non-zero eigenvalues of R^T B R, which is symmetric and has no negative ones: the root is
    real, also where covariances are singular, as they are for fewer than D samples. R then has as few columns as A has rank.
    Source: Heusel et al., GANs trained by a two time-scale update rule (NeurIPS 2017), equation 6.
    """
    import numpy as np

    values, vectors = np.linalg.eigh(covariance_a)
    there = values > values.max() * len(values) * np.finfo(np.float64).eps
    root = vectors[:, there] * np.sqrt(values[there])  # (D, rank)
    product = np.linalg.eigvalsh(root.T @ covariance_b @ root)
    overlap = np.sqrt(product.clip(0)).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + np.trace(covariance_a) + np.trace(covariance_b) - 2 * overlap
    return max(0.0, float(distance))  # equal sets give 0 up to rounding
