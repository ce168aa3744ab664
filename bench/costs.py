"""What one request costs the server's CPU: each measured in a process of its own."""

from collections.abc import Awaitable, Callable

from bench import forged, guarded
from bench.report import Figure


class Cost:
    """One figure, in microseconds. `measure` takes rounds and requests; its `rates` are empty:
    nothing is counted per second."""

    def __init__(
        self,
        name: str,
        measure: Callable[[int, int], Awaitable[list[float]]],
        *,
        must: float,
        goal: float,
        rounds: int,
        requests: int,
    ) -> None:
        self._name = name
        self._measure = measure
        self._budget = (must, goal)
        self._rounds = rounds
        self._requests = requests
        self.rates: dict[str, list[float]] = {}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        say(self._name.replace("_", " "))
        spent_us = await self._measure(self._rounds, self._requests)
        return [Figure(self._name, spent_us, *self._budget, is_cost=True)]


def costs(*, rounds: int, requests: int) -> list[Cost]:
    """What the guard and authentication add to a route, and a forged event."""
    return [
        Cost(name, measure, must=must, goal=goal, rounds=rounds, requests=requests)
        for name, measure, must, goal in (
            ("guard_and_authentication_us", guarded.measure, 60, 30),
            ("forged_event_us", forged.measure, 200, 150),
        )
    ]
