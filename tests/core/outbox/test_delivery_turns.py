"""From which organisations deliveries are claimed next."""

from __future__ import annotations

from uuid import UUID

from app.core.outbox.delivery_turns import DELIVERIES_PER_BATCH, MAX_WAITING, DeliveryTurns

ORGANISATIONS = [UUID(int=n) for n in range(1000)]


def test_one_organisation_has_whole_batches_until_enough_is_ready() -> None:
    turns, (one, *_) = DeliveryTurns(), ORGANISATIONS
    assert (turns.plan([one], {}), turns.batch) == ([one], DELIVERIES_PER_BATCH)
    turns.note(one, limit=turns.batch, claimed=turns.batch)

    assert turns.plan([one], {one: DELIVERIES_PER_BATCH}) == [one]
    assert turns.plan([one], {one: DELIVERIES_PER_BATCH + 1}) == []


def test_with_more_organisations_than_room_each_has_its_turn() -> None:
    turns, served = DeliveryTurns(), list[UUID]()
    for _ in range(len(ORGANISATIONS) // MAX_WAITING):
        claimed = turns.plan(ORGANISATIONS, {})[:MAX_WAITING]
        for org_id in claimed:
            turns.note(org_id, limit=turns.batch, claimed=turns.batch)
        served += claimed

    assert turns.batch == 1
    assert sorted(served) == ORGANISATIONS


def test_an_organisation_without_ready_deliveries_comes_first() -> None:
    turns, (one, other, *_) = DeliveryTurns(), ORGANISATIONS
    assert turns.plan([one, other], {one: 5}) == [other, one]


def test_an_organisation_whose_due_deliveries_cannot_be_claimed_pauses() -> None:
    turns, (one, other, *_) = DeliveryTurns(), ORGANISATIONS
    turns.note(one, limit=10, claimed=0)
    assert turns.plan([one, other], {}) == [other]


def test_more_is_needed_only_after_a_full_batch() -> None:
    turns, (one, other, *_) = DeliveryTurns(), ORGANISATIONS
    turns.note(one, limit=10, claimed=10)
    turns.note(other, limit=10, claimed=9)

    assert turns.needs_more(one, DELIVERIES_PER_BATCH)
    assert not turns.needs_more(one, DELIVERIES_PER_BATCH + 1)
    assert not turns.needs_more(other, 0)
    assert not turns.needs_more(ORGANISATIONS[2], 0)
