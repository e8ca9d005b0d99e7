"""A step whose asks are answered at once: what it is told, and what comes out."""

import pytest

from warpaint.proto.errors import Code, RefusedError
from warpaint.server.asks import Ask, Encode, Output, PaintAsk, Step, run

FIRST, SECOND = Encode([]), PaintAsk([])


class Asking:
    """A step that asks twice. told: the answers that it got, and the refusals that it caught."""

    def __init__(self, *, catches: bool) -> None:
        self._catches = catches
        self.told: list[object] = []
        self.outputs: list[Output] = []

    def step(self) -> Step:
        for ask in (FIRST, SECOND):
            try:
                self.told.append((yield ask))
            except RefusedError as error:
                if not self._catches:
                    raise
                self.told.append(error)
        return self.outputs


def test_each_ask_gets_its_answer_and_the_outputs_come_out() -> None:
    asking = Asking(catches=False)
    assert run(asking.step(), lambda ask: "features" if ask is FIRST else "paint") is asking.outputs
    assert asking.told == ["features", "paint"]


@pytest.mark.parametrize("refused", [FIRST, SECOND], ids=["first", "last"])
def test_a_refusal_is_raised_in_the_step_which_may_go_on(refused: Ask) -> None:
    asking, refusal = Asking(catches=True), RefusedError(Code.FLOW_FAILED, "it went dark")

    def answer(ask: Ask) -> object:
        if ask is refused:
            raise refusal
        return "an answer"

    assert run(asking.step(), answer) is asking.outputs
    assert asking.told == ([refusal, "an answer"] if refused is FIRST else ["an answer", refusal])


def test_a_refusal_that_the_step_does_not_catch_comes_out() -> None:
    asking, refusal = Asking(catches=False), RefusedError(Code.PAINTER_FAILED, "out of paint")

    def answer(ask: Ask) -> object:
        if ask is SECOND:
            raise refusal
        return "features"

    with pytest.raises(RefusedError) as raised:
        run(asking.step(), answer)
    assert raised.value is refusal
    assert asking.told == ["features"]


def test_other_errors_are_none_of_the_steps() -> None:
    """They are a defect of who answers: the step is not told of them."""
    asking = Asking(catches=True)

    def answer(ask: Ask) -> object:
        raise KeyError("nothing is known of it")

    with pytest.raises(KeyError):
        run(asking.step(), answer)
    assert asking.told == []
