"""GET /tickets?q=… in every script and spelling: what people type, and the text that it must find."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.core.database.pool import Database
from app.organisations.rules import derive_reference_prefix
from tests.organisation_client import Api, Desk, create_desk
from tests.tickets.lists.test_filters import BO
from tests.tickets.search.searching import list_tickets, open_indexed, relay_events, search

# A title, and search texts that find it, and no other one that does not have them too.
FOUND = [
    ("祝你们新年快乐，无法登录系统", ["快乐", "登录", "登", "无法登录系统", "统", "新年 登录"]),
    ("我登录后看不到三月的报表", ["登录", "登", "看不到", "三月的报表", "我登录后看不到三月的报表"]),
    ("注文がキャンセルできません", ["キャンセル", "ｷｬﾝｾﾙ", "注文", "できません", "ン"]),
    ("เข้าสู่ระบบไม่ได้", ["ระบบ", "ไม่ได้", "ได้"]),
    ("ຂ້ອຍເຂົ້າລະບົບບໍ່ໄດ້", ["ລະບົບ"]),
    ("ខ្ញុំមិនអាចចូលគណនី", ["គណនី"]),
    ("ကျွန်ုပ်အကောင့်ဝင်၍မရပါ", ["အကောင့်"]),
    ("로그인오류가 발생했습니다", ["오류", "로그인", "로그인오류", "로그인 오류", "발생"]),
    ("환불 요청: 김 철수", ["김철수", "철수", "환불요청"]),
    ("हिन्दी में समस्या", ["हिन्दी", "समस्या"]),
    ("خطأ في النِّظام الـجـديد", ["النظام", "الجديد", "خطا"]),
    ("نمی‌توانم وارد شوم", ["نمی‌توانم", "نمیتوانم"]),
    ('שְׁגִיאָה בדו״ח של צה"ל', ["שגיאה", "בדוח", "צהל", "צה״ל"]),
    ("Konto\u00adauszug fehlt", ["Kontoauszug", "Konto\u00adaus", "kontoaus"]),
    ("zero\u200bwidth and jo\u200dined", ["zerowidth", "joined"]),
    ("Müller GmbH: Straße gesperrt", ["Mueller", "muller", "MÜLLER", "strasse", "Mu\u0308ller"]),
    ("Schroeder aus Koeln", ["Schröder", "köln"]),
    ("Smørrebrød på Ærø, Århus", ["smoerrebroed", "smorrebrod", "aeroe", "aarhus", "arhus"]),
    (
        "Call me: +49 (0)89 123456-78",
        ["089 123456", "089/12345678", "+49 89 123456", "0049 89 1234", "12345678", "456-78"],
    ),
    ("Rückruf 030 9876543 bitte", ["+49 30 9876543", "(030) 98765", "6543", "rueckruf"]),
    ("电话13812345670请回", ["5670", "13812345670", "138 1234 5670"]),
    ("O’Connor's invoice", ["oconnor", "o'connor", "O’Connor", "connor invoice", "o connor"]),
    ("E-Mail-Adresse geändert", ["email", "e-mail", "adresse", "emailadresse", "geaendert"]),
    ("Aloha Hanaialiʻi", ["hanaiali'i", "hanaialii", "Hanaialiʻi"]),
    ("Щоб об'єднати", ["обєднати", "об’єднати"]),
    ("Widget™ weighs 40㎏, №5", ["widget", "tm", "40 kg"]),
    ("Ｆｕｌｌ ｗｉｄｔｈ ٤٢٧", ["full width", "427", "۴۲۷"]),
    ("Cannot export the report of March as PDF on Windows", ["Cannot export the report of March as PDF on Windows"]),
    ("Invoice of B. Łukasz", ["lukasz"]),
]


@pytest.fixture(scope="module")
async def tickets(api: Api, database: Database) -> Desk:
    """An organisation with a ticket for each title, in order, which the tests only read."""
    desk = await create_desk(api, database)
    for title, _ in FOUND:
        await desk.open(title=title, description="-")
    await relay_events(desk)
    return desk


@pytest.mark.parametrize("q", sorted({q for _, texts in FOUND for q in texts}))
async def test_a_ticket_is_found_in_every_script_and_spelling(tickets: Desk, q: str) -> None:
    expected = [number for number, (_, texts) in enumerate(FOUND, start=1) if q in texts]
    assert await search(tickets, q) == expected[::-1]


@pytest.mark.parametrize(("number", "title"), [(place + 1, title) for place, (title, _) in enumerate(FOUND)])
async def test_a_title_used_as_a_search_text_finds_its_ticket(tickets: Desk, number: int, title: str) -> None:
    assert number in await search(tickets, title)


@pytest.mark.parametrize("q", ["乐快", "录登", "ンャ", "muler", "oconor", "99 123456", "報表"])
async def test_other_texts_find_nothing(tickets: Desk, q: str) -> None:
    assert await search(tickets, q) == []


# --- subjects of mails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "q",
    [
        "[{p}-1] Answered: Refund 2024-17",
        "Re: [{p}-1] Assigned to you: Refund 2024-17",
        "AW: Re: [{p}-1] Closing soon: Another title since",
        "[{p}-1] \u2068طلب استرداد\u2069",
        "回复: [{p}-1] Refund",
        "please look at {p}-1, it is urgent",
        "{lower}-01 printer",
    ],
)
async def test_the_subject_of_a_mail_finds_its_ticket_by_the_reference(desk: Desk, q: str) -> None:
    await open_indexed(desk, title="Refund 2024-17")
    await open_indexed(desk, title="Another")
    prefix = derive_reference_prefix(desk.domain)

    assert await search(desk, q.format(p=prefix, lower=prefix.lower())) == [1]


async def test_the_subject_of_a_mail_finds_tickets_that_mention_the_reference(desk: Desk) -> None:
    prefix = derive_reference_prefix(desk.domain)
    await open_indexed(desk, title=f"Refund 2024-17, reference {prefix}-7")
    await open_indexed(desk, title=f"Refund 2024-17, reference {prefix}-71")

    for subject in ("[{p}-7] Answered: Refund 2024-17", "Re: [{p}-7] Assigned to you: Refund 2024-17"):
        assert await search(desk, subject.format(p=prefix)) == [1]


@pytest.mark.parametrize(
    "q", ["Re: Cannot export", "AW: Re: Fwd: cannot export", "Re[2]: export", "转发：export", "re"]
)
async def test_what_programs_put_before_a_subject_is_no_word_of_it(desk: Desk, q: str) -> None:
    await open_indexed(desk, title="Cannot export", description="The export stopped.")

    assert await search(desk, q) == ([1] if ":" in q or "：" in q else [])


# --- notes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", ["🔥", "?!", "___", "€ – …"])
async def test_a_text_that_cannot_match_says_so(tickets: Desk, q: str) -> None:
    answer = (await list_tickets(tickets, q=q)).json()

    assert answer["items"] == []
    assert "no letters or digits" in answer["note"]


async def test_words_that_were_left_out_are_named(tickets: Desk) -> None:
    answer = (await list_tickets(tickets, q="Cannot export the report of March as PDF on Windows")).json()

    assert answer["note"] == "Only the 8 rarest words of the search text were looked for, without: as, on."
    for q in ("cannot export", "登录"):
        assert "note" not in (await list_tickets(tickets, q=q)).json()
    assert "note" not in (await list_tickets(tickets)).json()


async def test_more_requesters_than_are_searched_for_are_mentioned(desk: Desk) -> None:
    async def add_requesters(first: int, last: int) -> None:
        for number in range(first, last + 1):
            body = {"email": f"r{number}@customer.example", "name": "Smith"}
            answer = await desk.api.http.post("/requesters", json=body, headers={"X-Org-Secret": desk.secret})
            assert answer.status_code == 201

    await add_requesters(1, 200)
    assert "note" not in (await list_tickets(desk, q="smith")).json()

    await add_requesters(201, 201)

    assert "More than 200 requesters match smith" in (await list_tickets(desk, q="smith")).json()["note"]


@pytest.mark.parametrize(
    ("words_of_each", "found", "note"),
    [(4, [1], None), (14, [], "Too many words in the names of requesters match anax: only the tickets of some of")],
)
async def test_requesters_with_many_matching_words_are_found_or_mentioned(
    desk: Desk, words_of_each: int, found: list[int], note: str | None
) -> None:
    await open_indexed(desk, requester={"email": "zlast@customer.example"})
    async with desk.database.session(desk.id) as db:
        for sql in (
            """
            INSERT INTO requesters (org_id, id, email, created_at)
            SELECT :org_id, gen_random_uuid(), 'r' || n || '@customer.example', now() FROM generate_series(1, 150) AS n
            """,
            """
            INSERT INTO requester_words (org_id, word, requester_id)
            SELECT org_id, 'anax' || split_part(email, '@', 1) || 'x' || n, id
            FROM requesters, generate_series(1, :words) AS n WHERE org_id = :org_id
            """,
        ):
            await db.execute(text(sql), {"org_id": desk.id} | ({"words": words_of_each} if ":words" in sql else {}))

    answer = (await list_tickets(desk, q="anax")).json()

    assert [ticket["number"] for ticket in answer["items"]] == found
    assert (answer.get("note") or "")[: len(note or "x")] == (note or "")


# --- requesters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("山田 太郎", ["山田太郎", "太郎山田", "山田", "太郎 山田"]),
        ("山田太郎", ["太郎山田", "山田 太郎"]),
        ("김철수", ["김철수", "철수", "김 철수"]),
        ("Jürgen Müller", ["juergen mueller", "MuellerJuergen", "jurgenmuller"]),
        ("Seán O’Connor", ["oconnor", "sean o'connor"]),
    ],
)
async def test_tickets_are_found_by_the_names_of_their_requesters(desk: Desk, name: str, texts: list[str]) -> None:
    await desk.open(requester={"email": BO})
    await open_indexed(desk, requester={"email": "m@customer.example", "name": name})

    for q in texts:
        assert await search(desk, q) == [2], q
        listed = await desk.api.http.get("/requesters", params={"q": q}, headers={"X-Org-Secret": desk.secret})
        assert [one["name"] for one in listed.json()["items"]] == [name], q
