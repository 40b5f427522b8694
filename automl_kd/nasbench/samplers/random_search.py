"""Random search on a table: each architecture with equal chance, none twice."""

from __future__ import annotations

from dataclasses import dataclass

from automl_kd.nasbench.samplers.batched_session import BatchedSession


@dataclass(frozen=True, kw_only=True)
class Random:
    """Bergstra, Bengio. Random Search for Hyper-Parameter Optimization. JMLR 13, 2012."""

    def run(self, session: BatchedSession) -> None:
        while session.open:
            session.query(session.fresh())
