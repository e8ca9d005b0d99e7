"""The painter as a whole: what each wish does, and what must stay as it is."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.easel import SIZE, brief, hole, hole_job, keyframe, scene, with_controls
from support.tiny_sd import Tiny
from warpaint.engines.base import PaintDone, PaintJob, Picture, Wording
from warpaint.engines.painters.diffusion import control
from warpaint.engines.painters.diffusion.jobs import Group, Item
from warpaint.engines.painters.diffusion.memory import Memory, read
from warpaint.engines.painters.diffusion.painter import Diffusion
from warpaint.engines.painters.diffusion.studio import Studio
from warpaint.engines.settings import EngineSettings
from warpaint.proto.errors import Code

# Mean difference, levels, that is an effect and not rounding.
SEEN = 0.5


@pytest.fixture(scope="module")
def painter(tiny: Tiny, tiny_tagger: Path, there: dict[str, Any]) -> Diffusion:
    """With all that there is."""
    return Diffusion(
        EngineSettings(
            model=str(tiny.base),
            inpaint_model=str(tiny.inpaint),
            taesd=tiny.taesd,
            model_loras=(tiny.lora, tiny.other_lora),
            embeddings=(tiny.embedding,),
            controlnets={"canny": tiny.canny, "lineart": tiny.lineart, "depth": tiny.lineart},
            tagger=tiny_tagger,
            **there,
        )
    )


@pytest.fixture(scope="module")
def base_alone(tiny: Tiny, there: dict[str, Any]) -> Diffusion:
    return Diffusion(EngineSettings(model=str(tiny.base), **there))


def never() -> bool:
    return False


def painted(painter: Diffusion, job: PaintJob) -> Picture:
    [done] = painter.paint([job], never)
    assert done.image is not None, done.why
    return done.image


def far(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(float) - other).mean())


# What each wish does


@pytest.mark.parametrize("make", [keyframe, hole_job])
@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a reef"},
        {"negative_prompt": "autumn leaves"},
        {"strength": 0.5},
        {"seed": 7},
        {"steps": 8},
        {"guidance": 1.0},
        {"scheduler": "euler_a"},
        {"vae": "tiny"},
        {"clip_skip": 1},
        {"loras": ("lora",)},
        {"controls": ("canny",)},
        {"controls": ("lineart",)},
        {"prompt": "a wood in autumn, embedding"},
    ],
    ids=str,
)
def test_each_wish_has_its_effect(painter: Diffusion, make: Callable[..., PaintJob], change: dict[str, Any]) -> None:
    wanted = brief()
    changed = wanted.changed(change)
    assert far(painted(painter, make(wanted)), painted(painter, make(changed))) > SEEN / 5


@pytest.mark.parametrize("make", [keyframe, hole_job])
def test_the_raw_picture_guides(painter: Diffusion, make: Callable[..., PaintJob]) -> None:
    assert far(painted(painter, make(brief())), painted(painter, make(brief(), scene(3)))) > SEEN


def test_the_same_seed_repeats_to_the_bit(painter: Diffusion, base_alone: Diffusion) -> None:
    for make in (keyframe, hole_job):
        for each in (painter, base_alone):
            np.testing.assert_array_equal(painted(each, make(brief())), painted(each, make(brief())))


def test_loras_add_up_by_their_weights_and_leave_nothing_behind(painter: Diffusion) -> None:
    plain = painted(painter, keyframe(brief()))
    half, whole, both = (
        painted(painter, keyframe(brief(loras=loras)))
        for loras in (("lora:0.5",), ("lora",), ("lora", "other_lora:0.7"))
    )
    assert 0 < far(plain, half) < far(plain, whole)
    assert far(whole, both) > 0.1
    np.testing.assert_array_equal(painted(painter, keyframe(brief(loras=("lora:0",)))), plain)
    np.testing.assert_array_equal(painted(painter, keyframe(brief())), plain)


def test_a_prompt_comes_in_by_its_share(painter: Diffusion) -> None:
    wanted = brief(prompt="a reef")
    old, new = painted(painter, keyframe(brief())), painted(painter, keyframe(wanted))
    steps = [
        painted(painter, keyframe(wanted, earlier=Wording("a wood in autumn", "", share)))
        for share in (1.0, 0.7, 0.3, 0.0)
    ]
    np.testing.assert_array_equal(steps[0], old)
    np.testing.assert_array_equal(steps[-1], new)
    assert far(new, steps[1]) > far(new, steps[2]) > 0


def test_a_crop_finds_the_noise_of_its_place(base_alone: Diffusion) -> None:
    """At full strength all is noise at first: a crop's first latents are those of the whole picture there."""
    from warpaint.engines.painters.diffusion import latents

    whole = latents.noise_of(keyframe(brief(seed=3)), torch.empty(0))
    crop = keyframe(brief(seed=3), scene()[32:96, 64:128], origin=(64, 32), size=SIZE)
    np.testing.assert_array_equal(latents.noise_of(crop, torch.empty(0)), whole[:, :, 4:12, 8:16])


# Batches


def test_a_batch_of_all_kinds_gives_what_each_job_gives_alone(painter: Diffusion) -> None:
    jobs = [
        keyframe(brief()),
        hole_job(brief()),
        keyframe(brief(prompt="a reef", seed=4), scene(2)),
        hole_job(brief(negative_prompt="fog"), scene(3)),
        keyframe(brief(loras=("lora",))),
        keyframe(brief(scheduler="lcm", guidance=1.0)),
        keyframe(brief(), scene(4)[:64]),
        keyframe(brief(controls=("canny:0.5",)), scene(6)),
        keyframe(brief(), scene(7), memory=b"unknown"),
    ]
    alone = [painted(painter, job) for job in jobs]
    together = painter.paint([replace(job, id=number) for number, job in enumerate(jobs)], never)
    assert [done.id for done in together] == list(range(len(jobs)))
    for one, done in zip(alone, together, strict=True):
        assert done.image is not None
        assert np.abs(one.astype(int) - done.image).max() <= 1


def test_equal_jobs_share_a_call_of_the_unet(painter: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    paint = Studio.paint

    def watched(self: Studio, group: Group, items: Any, cancelled: Any) -> Any:
        sizes.append(len(items))
        return paint(self, group, items, cancelled)

    monkeypatch.setattr(Studio, "paint", watched)
    jobs = [keyframe(brief()), hole_job(brief()), keyframe(brief(seed=5)), hole_job(brief(prompt="a reef"))]
    painter.paint(jobs, never)
    assert sizes == [2, 2]


# Looking back


def test_looking_back_at_the_same_picture_changes_nothing(painter: Diffusion) -> None:
    plain = painted(painter, keyframe(brief()))
    [first] = painter.paint([keyframe(brief(attend_last=True))], never)
    assert first.image is not None
    assert first.memory is not None
    np.testing.assert_array_equal(first.image, plain)
    again = painted(painter, keyframe(brief(attend_last=True), memory=first.memory))
    assert np.abs(again.astype(int) - plain).max() <= 1


def test_looking_back_at_another_picture_changes_something(painter: Diffusion) -> None:
    wanted = brief(attend_last=True, steps=8, guidance=9.0)
    [first] = painter.paint([keyframe(wanted)], never)
    plain, back = (painted(painter, keyframe(wanted, scene(3), memory=memory)) for memory in (None, first.memory))
    assert far(plain, back) > 0


def test_what_is_no_longer_kept_or_does_not_fit_is_not_looked_back_at(painter: Diffusion) -> None:
    wanted = brief(attend_last=True)
    [first] = painter.paint([keyframe(wanted)], never)
    more = brief(attend_last=True, steps=8)
    plain = painted(painter, keyframe(more, scene(3)))
    np.testing.assert_array_equal(painted(painter, keyframe(more, scene(3), memory=first.memory)), plain)
    plain = painted(painter, keyframe(wanted, scene(3)))
    painter.studio.kept.clear()
    np.testing.assert_array_equal(painted(painter, keyframe(wanted, scene(3), memory=first.memory)), plain)


def test_what_is_kept_stays_within_its_budget(tiny: Tiny) -> None:
    few = Diffusion(EngineSettings(model=str(tiny.base), device="cpu", cache_mb=2))
    wanted = brief(attend_last=True)
    memories = [few.paint([keyframe(wanted, scene(seed))], never)[0].memory for seed in range(6)]
    assert None not in memories
    assert few.studio.kept.nbytes <= 2 * 10**6
    assert few.studio.kept.get(read(memories[0]).attention) is None
    assert few.studio.kept.get(read(memories[-1]).attention) is not None
    none = Diffusion(EngineSettings(model=str(tiny.base), device="cpu", cache_mb=0))
    [done] = none.paint([keyframe(wanted)], never)
    assert done.memory is None


# Tags


def test_tags_join_the_prompt_of_keyframes(painter: Diffusion) -> None:
    red = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    red[..., 2] = 255
    wanted = brief(tag_threshold=0.5, tag_prefix="a film still")
    [done] = painter.paint([keyframe(wanted, red)], never)
    assert "red background" in done.tags
    said = brief(prompt="a film still, a wood in autumn, " + ", ".join(done.tags))
    np.testing.assert_array_equal(done.image, painted(painter, keyframe(said, red)))
    [blocked] = painter.paint([keyframe(wanted.changed({"tag_block": ("red_background",)}), red)], never)
    assert "red background" not in blocked.tags


def test_holes_have_the_tags_of_their_keyframe(painter: Diffusion) -> None:
    wanted = brief(tag_threshold=0.5)
    [done] = painter.paint([keyframe(wanted)], never)
    assert done.memory is not None
    [with_tags] = painter.paint([hole_job(wanted, memory=done.memory)], never)
    assert with_tags.tags == done.tags
    assert with_tags.memory is None
    said = brief(prompt=", ".join((wanted.prompt, *done.tags)))
    np.testing.assert_array_equal(with_tags.image, painted(painter, hole_job(said)))
    assert painter.paint([hole_job(wanted)], never)[0].tags == ()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"attention": 3, "tags": []}', b'{"attention": "x", "tags": 1}']
)
def test_what_is_no_memory_is_an_empty_one(data: bytes) -> None:
    assert read(data) == Memory()


# Control images that come with the frame. Tiny ControlNets hardly tell one image from another: they are to weigh much,
# and as the same image gives the same bits, any difference counts.

WHITE, BLACK = (np.full((SIZE[1], SIZE[0], 3), level, np.uint8) for level in (255, 0))


@pytest.mark.parametrize("make", [keyframe, hole_job])
def test_an_image_that_came_is_what_the_controlnet_is_shown(painter: Diffusion, make: Callable[..., PaintJob]) -> None:
    job = make(brief(controls=("depth:4",)))
    one = painted(painter, with_controls(job, depth=WHITE))
    assert far(one, painted(painter, with_controls(job, depth=BLACK))) > 0
    np.testing.assert_array_equal(one, painted(painter, with_controls(job, depth=WHITE, pose=BLACK)))


@pytest.mark.parametrize("make", [keyframe, hole_job])
def test_an_image_that_came_takes_the_place_of_the_one_that_is_computed(
    painter: Diffusion, make: Callable[..., PaintJob]
) -> None:
    job = make(brief(controls=("canny:4",)))
    computed = painted(painter, job)
    same = with_controls(job, canny=control.canny(job.frame.bgr))
    np.testing.assert_array_equal(painted(painter, same), computed)
    assert far(painted(painter, with_controls(job, canny=WHITE)), computed) > 0


def test_a_keyframe_whose_image_did_not_come_fails_alone(painter: Diffusion) -> None:
    job = keyframe(brief(controls=("canny", "depth:0.5")))
    bad, good = painter.paint([job, with_controls(job, depth=scene(10))], never)
    assert bad.error is Code.BAD_BRIEF
    assert bad.why == "brief.controls: 'depth' is not computed here; send its image with each frame"
    assert good.image is not None


def test_holes_whose_image_did_not_come_are_painted_without_that_control(painter: Diffusion) -> None:
    """And beside those whose image came."""
    without = painted(painter, hole_job(brief(controls=("canny",))))
    job = hole_job(brief(controls=("depth", "canny")))
    np.testing.assert_array_equal(painted(painter, job), without)
    shown = with_controls(job, depth=scene(10))
    alone = [painted(painter, each) for each in (shown, job)]
    together = painter.paint([replace(shown, id=0), replace(job, id=1)], never)
    for one, done in zip(alone, together, strict=True):
        assert done.image is not None
        assert np.abs(one.astype(int) - done.image).max() <= 1
    assert far(alone[0], alone[1]) > SEEN / 5


# What goes wrong


def failed(painter: Diffusion, job: PaintJob, cancelled: Callable[[], bool] = never) -> PaintDone:
    [done] = painter.paint([job], cancelled)
    assert done.image is None
    return done


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": "  "}, "the prompt is empty"),
        ({"steps": 4, "strength": 0.2}, "0.2 of 4 steps is less than one"),
        ({"loras": ("unknown",)}, "holds no LoRA 'unknown'; it holds lora, other_lora"),
        ({"clip_skip": 5}, "text encoder has 2 layers"),
        ({"scheduler": "lcm", "steps": 51}, "at most 50 steps"),
    ],
)
def test_a_brief_that_it_cannot_follow(painter: Diffusion, change: dict[str, Any], said: str) -> None:
    done = failed(painter, keyframe(brief(**change)))
    assert done.error is Code.BAD_BRIEF
    assert said in done.why


def test_what_was_not_set_up_is_said(base_alone: Diffusion) -> None:
    for change, said in (
        ({"vae": "tiny"}, "holds no tiny autoencoder"),
        ({"controls": ("canny",)}, "holds no ControlNet 'canny'; it holds none"),
        ({"tag_threshold": 0.5}, "holds no tagger"),
    ):
        assert said in failed(base_alone, keyframe(brief(**change))).why


def test_a_long_prompt_is_cut_and_what_was_cut_is_said(painter: Diffusion) -> None:
    [done] = painter.paint([keyframe(brief(prompt="a" * 68 + " forgotten words"))], never)
    assert done.image is not None
    assert done.note is not None
    assert done.note[0] is Code.PROMPT_CUT
    assert done.note[1].endswith("words")
    [short] = painter.paint([keyframe(brief())], never)
    assert short.note is None


def test_pictures_that_are_no_multiple_of_a_latent_are_refused(painter: Diffusion) -> None:
    done = failed(painter, keyframe(brief(), scene(0, (100, 64))))
    assert "multiples of 8" in done.why
    assert "100x64" in done.why


def test_a_job_that_fails_fails_alone(painter: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    item = Studio.item

    def failing(self: Studio, place: int, job: PaintJob) -> Item:
        if job.seed == 13:
            raise ValueError("the text encoder is cross")
        return item(self, place, job)

    monkeypatch.setattr(Studio, "item", failing)
    jobs = [keyframe(brief(prompt="")), keyframe(brief(seed=13)), keyframe(brief())]
    refused, bad, good = painter.paint(jobs, never)
    assert (refused.error, bad.error) == (Code.BAD_BRIEF, Code.PAINTER_FAILED)
    assert "ValueError: the text encoder is cross" in bad.why
    assert good.image is not None


def test_a_batch_that_fails_fails_alone(painter: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    paint = Studio.paint

    def failing(self: Studio, group: Group, items: Any, cancelled: Any) -> Any:
        if not group.keyframe:
            raise RuntimeError("shapes do not fit")
        return paint(self, group, items, cancelled)

    monkeypatch.setattr(Studio, "paint", failing)
    good, bad = painter.paint([keyframe(brief()), hole_job(brief())], never)
    assert good.image is not None
    assert bad.error is Code.PAINTER_FAILED
    assert "shapes do not fit" in bad.why


def test_a_call_beside_one_that_was_given_up_is_refused(painter: Diffusion) -> None:
    done: list[PaintDone] = []

    def while_painting() -> bool:
        if not done:
            done.extend(painter.paint([keyframe(brief())], never))
        return False

    assert painter.paint([keyframe(brief())], while_painting)[0].image is not None
    assert done[0].error is Code.PAINTER_FAILED
    assert "given up" in done[0].why


def test_attention_that_is_too_large_is_told(tiny: Tiny, there: dict[str, Any]) -> None:
    small = Diffusion(EngineSettings.model_validate({"model": str(tiny.base), "cache_mb": 0, **there}))
    [done] = small.paint([keyframe(brief(attend_last=True))], never)
    assert done.image is not None
    assert done.memory is None
    assert done.note is not None
    assert done.note[0] is Code.RESOURCE_EXHAUSTED
    assert "cache_mb is 0" in done.note[1]


@pytest.mark.parametrize(
    "said",
    [
        "MPS backend out of memory (MPS allocated: 1 GB)",
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_a_device_may_say_in_many_ways_that_it_is_short_of_memory(
    painter: Diffusion, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def short(*_: Any) -> Any:
        raise RuntimeError(said)

    monkeypatch.setattr(Studio, "paint", short)
    assert failed(painter, keyframe(brief())).error is Code.RESOURCE_EXHAUSTED


def test_it_stops_between_steps(painter: Diffusion) -> None:
    asked = []

    def after_three() -> bool:
        asked.append(1)
        return len(asked) > 3

    done = failed(painter, keyframe(brief(steps=20)), after_three)
    assert done.error is Code.CANCELLED
    assert len(asked) == 4


def test_weights_that_give_no_numbers_fail_the_painting(tiny: Tiny) -> None:
    broken = Diffusion(EngineSettings(model=str(tiny.base), device="cpu"))
    with torch.no_grad():
        broken.studio.models.base.unet.conv_out.bias.fill_(float("nan"))
    done = failed(broken, keyframe(brief()))
    assert done.error is Code.PAINTER_FAILED
    assert "NaN" in done.why


@pytest.fixture
def short_of_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A device on which batches of more than one fail; the sizes that were tried."""
    tried: list[int] = []
    paint = Studio.paint

    def limited(self: Studio, group: Group, items: Any, cancelled: Any) -> Any:
        tried.append(len(items))
        if len(items) > most[0] or any(each.job.seed == 13 for each in items):
            raise torch.OutOfMemoryError("out of memory")
        return paint(self, group, items, cancelled)

    most = [2]
    monkeypatch.setattr(Studio, "paint", limited)
    yield most
    assert tried


def test_a_device_short_of_memory_gets_half_the_batch(painter: Diffusion, short_of_memory: list[int]) -> None:
    jobs = [keyframe(brief(seed=seed)) for seed in range(4)]
    assert all(done.image is not None for done in painter.paint(jobs, never))
    short_of_memory[0] = 0
    for done in painter.paint(jobs, never):
        assert done.error is Code.RESOURCE_EXHAUSTED
        assert "192x128" in done.why
    short_of_memory[0] = 4
    half, other = painter.paint([keyframe(brief(seed=3)), keyframe(brief(seed=13))], never)
    assert half.image is not None
    assert other.error is Code.RESOURCE_EXHAUSTED


# Holes


@pytest.mark.parametrize("inpaint", [True, False], ids=["nine channels", "four channels"])
def test_holes_are_painted_and_guided(painter: Diffusion, base_alone: Diffusion, inpaint: bool) -> None:
    each = painter if inpaint else base_alone
    job = hole_job(brief())
    there = hole()
    [done] = each.paint([job], never)
    assert done.image is not None
    assert far(done.image[there], job.frame.bgr[there]) > SEEN
    assert job.canvas is not None
    other = replace(job, canvas=scene(8))
    assert far(painted(each, job)[there], painted(each, other)[there]) > SEEN / 5  # what is around a hole is seen
