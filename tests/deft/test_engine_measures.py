"""Noise floors, speeds, millimetres, what speaks against an AU, other movements."""

from __future__ import annotations

import re
from copy import deepcopy

import numpy as np
import pytest

from deft_llm.answers import COARSE_LABELS
from deft_llm.clip import Interval
from deft_llm.deft.inference.engine import execute
from deft_llm.deft.inference.replies import reply
from deft_llm.deft.inference.sight import Weighed
from deft_llm.motion.region_paths import Trajectory
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.queries.query import parse_query

from .known_clips import BACK, BROWS, FRAMES, clip, look, reading


def test_noise_floors_and_z_of_regions_are_told_whether_they_moved_or_not() -> None:
    measurement = clip(BROWS, BACK)
    i, noise = REGION_NAMES.index("chin"), measurement.table_apex.noise
    told = {f.what: f.value for f in look("magnitude region=chin of=z", measurement).facts}
    z = float(measurement.table_apex.z[i])
    assert told == {
        "px": 0.3,
        "noise floor": pytest.approx(float(noise[i]), abs=1e-3),
        "z": pytest.approx(z, abs=0.05),
    }
    assert f"z {z:.1f}." in reply(look("magnitude region=chin of=z", measurement))
    assert look(f"magnitude? region=chin of=z more={z - 1:.1f}", measurement).polarity is True
    assert look(f"magnitude? region=chin of=z more={z + 1:.1f}", measurement).polarity is False
    still = look("magnitude region=glabella of=z", measurement)
    assert reply(still) == f"The glabella: 0.00 px, noise floor {noise[-2]:.2f} px, z 0.0."
    highest = look("magnitude of=z rank=most", measurement)
    assert {fact.about for fact in highest.facts} == {"left inner brow"}
    assert len(look("magnitude of=z", measurement).facts) == 3 * len(REGION_NAMES)


def test_a_limit_of_noise_is_held_against_the_noise_and_denied_when_denied() -> None:
    measurement = clip(BROWS, BACK)
    i = REGION_NAMES.index("chin")
    z, floor = (float(column[i]) for column in (measurement.table_apex.z, measurement.noise))
    asked = {
        f"magnitude? region=chin of=z more={z - 1:.1f}": True,
        f"magnitude? not region=chin of=z more={z - 1:.1f}": False,
        f"magnitude? not region=chin of=z more={z + 1:.1f}": True,
        # In pixels of the floor, and not in floors.
        f"magnitude? region=chin of=noise more={2 * floor:.3f}": False,
        f"magnitude? not region=chin of=noise more={2 * floor:.3f}": True,
        f"quality? of=noise less={2 * float(np.median(measurement.noise)):.3f}": True,
        f"quality? not of=noise less={2 * float(np.median(measurement.noise)):.3f}": False,
        "quality? of=rate more=1000": False,
        "quality? of=rate less=1000": True,
        "quality? of=light more=0.5": False,
    }
    assert {line: look(line, measurement).polarity for line in asked} == asked


def test_a_limit_is_held_against_the_z_that_is_told() -> None:
    measurement = deepcopy(clip(BROWS, BACK))
    measurement.table_apex.z[REGION_NAMES.index("chin")] = 3.009
    found = look("magnitude? region=chin of=z more=3", measurement)
    assert found.polarity is False and "z 3.0." in reply(found)


def test_speed_is_the_motion_by_the_time_to_the_apex() -> None:
    measurement = clip(BROWS, BACK)  # 0.1 s to the apex
    found = look("how_long of=speed", measurement)
    speeds = {fact.about: fact.value for fact in found.facts if fact.what == "speed"}
    assert speeds == {"left inner brow": 15.0}
    assert "the left inner brow 15.0 px per second. It lasts 0.250 s" in reply(found)
    assert look("how_long? region=chin of=speed more=2", measurement).polarity is True
    assert look("how_long? region=chin of=speed more=4", measurement).polarity is False
    assert reply(look("how_long region=cheek of=speed", measurement)).endswith("at rest.")


def test_what_speaks_against_an_au_is_where_it_moves_nothing_or_another_way() -> None:
    measurement = clip(BROWS, BACK)
    explanation = reading(measurement, aus=("2", "1"))
    text = reply(look("why_not au=4", measurement, explanation))
    assert "is not named" in text and "Against it: Both inner brows move up" in text
    text = reply(look("why_not au=1", measurement, explanation))
    assert "is named" in text and "inner brow " not in text.partition("is named")[2]
    assert "No motion that was measured speaks against it." in text
    assert text.endswith("It can move the glabella (z 0.0), which stays at rest.")


def test_how_sure_an_au_is_that_is_not_named_is_told() -> None:
    measurement, shares = clip(BROWS, BACK), {4: (0.03, 0.04)}
    weighed = Weighed(dict.fromkeys(COARSE_LABELS, 0.25), {}, shares)
    query, found = parse_query("confidence au=4"), reading(measurement)
    text = reply(execute(query, measurement, lambda: found, lambda: weighed))
    assert text.startswith("AU4 brow lowerer is not named (probability 0.04).")


def test_where_no_blink_is_found_it_says_what_may_be_missed() -> None:
    for line in ("blink", "count of=blinks"):
        assert reply(look(line, clip(BROWS))).startswith("No blink is found; one that")


def test_nobody_knows_how_many_millimetres_a_pixel_is() -> None:
    found = look("magnitude region=brow of=mm", clip(BROWS))
    assert reply(found).startswith("A video does not tell how large the face is")
    assert reply(found).endswith("px apart: the left inner brow moves 2 % of that.")


def test_other_movements_are_told_with_their_frames() -> None:
    another = clip(BROWS, others=(Interval(31, 35, 39),))
    text = reply(look("when of=others", another))
    assert text.startswith("Another movement peaks at 0.350 s (frames 31 to 39).")
    assert reply(look("when of=others", clip(BROWS))) == "No other movement is found."
    assert look("when of=others", clip(BROWS, trajectory=None)).untold


def test_a_summary_in_one_sentence_is_one() -> None:
    measurement = clip(BROWS, BACK)
    told = reply(look("summary of=sentence", measurement, reading(measurement)))
    # What ends the sentence is its one full stop that no number holds.
    assert re.findall(r"\.(?!\d)", told) == ["."] and told.endswith("from 0.050 to 0.300 s.")
    assert told.startswith("It is read as surprise") and "inner brows moved up" in told


def test_a_nod_goes_up_and_down_and_a_shake_to_the_sides() -> None:
    path = np.zeros((FRAMES, 2), np.float32)
    path[10:20, 1] = 3.0
    path[12:18, 0] = -0.5
    regions = clip(BROWS, BACK).trajectory.regions
    measurement = clip(BROWS, BACK, trajectory=Trajectory(regions, path))
    nod = look("head_motion? of=nod", measurement)
    assert nod.polarity is True and look("head_motion? of=shake", measurement).polarity is False
    assert (
        reply(nod)
        == "Yes. Over the clip the head moves 0.50 px to the sides and 3.00 px up and down."
    )
    level = clip(BROWS, BACK, trajectory=Trajectory(regions, path[:, ::-1]))
    assert look("head_motion? of=shake", level).polarity is True
    assert look("head_motion? of=nod", clip(BROWS, BACK)).polarity is False
    both = clip(BROWS, BACK, trajectory=Trajectory(regions, path + path[:, ::-1]))
    assert look("head_motion? of=nod", both).polarity is None


def test_the_noisiest_and_the_second_largest_region() -> None:
    measurement = clip(BROWS, BACK)
    noisiest = look("magnitude of=noise rank=most", measurement)
    floor = next(f.value for f in noisiest.facts if f.what == "noise floor")
    assert floor == pytest.approx(float(measurement.table_apex.noise.max()), abs=1e-3)
    first, second = (look(f"compare rank={rank}", measurement) for rank in ("most", "second"))
    assert first.facts[0].about.partition(" ")[2] != second.facts[0].about.partition(" ")[2]
    assert first.facts[0].evidence[0].magnitude > second.facts[0].evidence[0].magnitude
    assert "What moves second most is the left mouth corner." in reply(second)


def test_what_rests_on_the_way_back_is_named() -> None:
    """Other regions did move, so it is not said that none did."""
    told = reply(look("moved? region=glabella moment=offset", clip(BROWS, BACK)))
    assert told == "No. The glabella (z 0.0) stays at rest."


def test_each_au_is_told_with_its_probability() -> None:
    measurement = clip(BROWS, BACK)
    told = reply(look("confidence of=aus", measurement, reading(measurement, aus=("1", "2"))))
    assert told.count("probability") == 2 and "AU1 inner brow raiser (probability" in told


def test_how_many_people_are_there_is_not_answered_by_yes_or_no() -> None:
    found = look("quality of=people", clip(BROWS, BACK))
    assert found.polarity is None and reply(found) == "The face is seen in 40 frames of 40."


def test_what_nearly_counts_as_moved_is_told_with_its_z() -> None:
    told = reply(look("moved of=likely", clip(BROWS, BACK)))
    assert told.startswith("No other region comes near the z of 3") and "(z 0.0)" in told
    # Of a place that moved as a whole there is nothing left.
    told = reply(look("moved region=inner_brow of=likely", clip(BROWS, BACK)))
    assert told == "No other region comes near the z of 3 from which it counts as moved."


def test_the_aus_of_a_place_are_counted_not_all() -> None:
    measurement = clip(BROWS, BACK)
    explanation = reading(measurement, aus=("1", "14"))
    counted = [
        look(f"count {where}of=aus", measurement, explanation).facts[0].value
        for where in ("", "region=brow ", "region=mouth_corner ")
    ]
    assert counted == [2, 1, 1]


def test_of_one_moment_the_phase_is_told_that_it_bounds() -> None:
    measurement = clip(BROWS, BACK)
    told = [reply(look(f"how_long moment={moment}", measurement)) for moment in ("onset", "offset")]
    assert told == [
        "It takes 0.100 s to the apex (10 frames).",
        "It takes 0.150 s back to rest (15 frames).",
    ]


def test_a_direction_that_nothing_takes_is_told_as_such() -> None:
    measurement = clip(BROWS, BACK)
    assert reply(look("direction direction=inward", measurement)) == "Nothing of it moves inward."
    told = reply(look("direction region=brow direction=down", measurement))
    assert told.startswith("Nothing of it moves down. Both inner brows move up")


def test_regions_that_moved_further_than_a_limit_are_counted() -> None:
    measurement = clip(BROWS, BACK)
    lengths = measurement.table_apex.magnitude[measurement.table_apex.active]
    found = look("count of=regions more=0.8", measurement)
    assert found.facts[0].value == int((lengths > 0.8).sum()) < len(lengths)
    assert reply(found).endswith("moved more than 0.8 px.")


def test_the_head_is_told_with_its_removal_where_it_might_be_the_cause() -> None:
    told = reply(look("head_motion", clip(BROWS, BACK)))
    assert told.endswith("All of it is removed from the face's motion.")
    assert not reply(look("head_motion?", clip(BROWS, BACK))).endswith("motion.")


def test_absent_aus_are_those_that_the_model_knows_and_does_not_name() -> None:
    measurement = clip(BROWS, BACK)
    weighed = Weighed(
        dict.fromkeys(COARSE_LABELS, 0.25), {}, dict.fromkeys((1, 2, 4, 12), (0.5, 0.5))
    )
    found = reading(measurement, aus=("1",))

    def absent(line: str) -> list[str]:
        told = execute(parse_query(line), measurement, lambda: found, lambda: weighed)
        return [fact.about for fact in told.facts]

    assert absent("au not") == ["2", "4", "12"]
    assert absent("au not region=brow") == ["2", "4"]


def test_that_no_named_au_moves_a_place_is_not_that_none_is_named() -> None:
    measurement = clip(BROWS, BACK)
    text = reply(look("au? region=cheek", measurement, reading(measurement, aus=("1",))))
    assert text == "No. None of the action units that are named moves the cheeks."


def test_a_gaze_shift_that_is_remarked_on_is_not_denied() -> None:
    seen = "the face video shows the gaze shift at 0.04 s"
    told = reply(look("decline topic=gaze", clip(BROWS, BACK, remarks=(seen,))))
    assert told.startswith("The face video shows the gaze shift at 0.04 s. Where the eyes look")
    assert not look("decline topic=gaze", clip(BROWS, BACK)).facts


def test_of_two_places_the_one_that_rests_is_told_as_well() -> None:
    text = reply(look("moved region=brow,eye", clip(BROWS, BACK)))
    assert "brows move up" in text and "lid (z" in text and text.endswith("stay at rest.")


def test_a_region_at_rest_has_one_z_in_all_answers() -> None:
    # A table of its own: other tests share that of known_clips.
    measurement = clip(deepcopy(BROWS), BACK)
    measurement.table_apex.z[REGION_NAMES.index("chin")] = 2.97
    measurement.table_apex.active[REGION_NAMES.index("chin")] = False
    measurement.table_apex.z[REGION_NAMES.index("glabella")] = 1.98
    for name, z in (("chin", "z 2.9"), ("glabella", "z 2.0")):
        for line in (f"moved? region={name}", f"magnitude region={name} of=z"):
            assert z in reply(look(line, measurement))


def test_how_much_likelier_one_class_is_has_no_yes_or_no() -> None:
    found = look("probability class=fear than=happiness", clip(BROWS, BACK))
    assert found.polarity is None and len(found.facts) == 2


def test_of_two_places_yes_is_not_said_for_the_one_that_rests() -> None:
    measurement = clip(BROWS, BACK)
    assert look("moved? region=brow,eye", measurement).polarity is None
    assert look("moved? region=brow,mouth", measurement).polarity is True
    assert look("moved? region=cheek,eye", measurement).polarity is False
