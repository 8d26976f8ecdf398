"""Redaction of secrets in headers, JSON, URLs and prose, and what it leaves unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.validation.redaction import REDACTED, redact, redact_url
from app.domain.validation.text import validate_text
from tests.factories import NOW

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.TJVA95OrM7E2cBab30RMHrHDcEfxjoYZgeFONFh7HgQ"
OWN_KEY = "pe_live_0f3b5c7d9e1f2a4b6c8d0e2f4a6b8c0d"
LETTERS = "pe_live_abcdefabcdefabcdefabcdefabcdefab"
FACEBOOK = "EAAGm0PX4ZCpsBAKZCZBfPZBqrZCnZAbcdEFGhijklMNOpqrSTUvwxYZ0123456789"
TELEGRAM = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw_"
GOOGLE = "AIzaSyA1234567890abcdefghijklmnopqrstuv"
SECRET_FORMATS = [
    "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOHcbrzqgy",
    "xoxp-123-456-789-abcdef",
    "xapp-1-A111-222-abc",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "pk_live_TYooMQauvdEDq54NiTphI7jx",
    "rk_live_4eC39HqLyjWDarjt",
    "sk_test_4eC39HqLyjWDarjt",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "gho_16C7e42F292c",
    "github_pat_11AAAAAAA0abcdefghij_xyz",
    "glpat-abcDEF123456",
    "ya29.a0AfH6SMBx-y_z",
    "1//0gLx-abcdefghijklmnopqrs",
    "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs",
    "sk-proj-abcdefghijklmnopqrst",
    "SG.abcdefghijklmnop.qrstuvwxyz012345",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE+/=\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 2\n\nlQ=\n-----END PGP PRIVATE KEY BLOCK-----",
]

SECRETS = {
    f"Authorization: Bearer {FACEBOOK}": "Authorization: Bearer [redacted]",
    "authorization: Bearer abcdefghij was refused": "authorization: Bearer [redacted] was refused",
    "Authorization: Basic YWNtZTpodW50ZXI=\r\nHost: x": "Authorization: Basic [redacted]\nHost: x",
    'Authorization: OAuth oauth_consumer_key="xvz1e", oauth_nonce="n", oauth_signature="tnn%3D",'
    ' oauth_token="370773112-GmHx"': "Authorization: OAuth oauth_consumer_key="
    '"[redacted]", oauth_nonce="n", oauth_signature="[redacted]", oauth_token="[redacted]"',
    f"{{'Authorization': 'Bearer {JWT}'}}": "{'Authorization': '[redacted]'}",
    "X-Api-Key: sk9f8a7": "X-Api-Key: [redacted]",
    "Cookie: sid=abc; csrftoken=def\nHost: x": "Cookie: [redacted]\nHost: x",
    '{"set-cookie": "sid=abc; path=/", "id": 5}': '{"set-cookie": "[redacted]", "id": 5}',
    '{"access_token":"abc","id":"17895695"}': '{"access_token":"[redacted]","id":"17895695"}',
    '{"accessToken": "a b \\" c", "n": 1}': '{"accessToken": "[redacted]", "n": 1}',
    '{"b":"{\\"id_token\\":\\"abc\\",\\"n\\":1}"}': '{"b":"{\\"id_token\\":\\"[redacted]\\",\\"n\\":1}"}',
    '{"client_secret": "expired"}': '{"client_secret": "[redacted]"}',
    '{"password": "hunter two"': '{"password": "[redacted]"',
    f"https://graph.facebook.com/v19.0/1/feed?fields=id&access_token={FACEBOOK}&limit=5": "https://graph.facebook.com/v19.0/1/feed?fields=id&access_token=[redacted]&limit=5",
    "https://x.com/?ig_access_token=IGQ&b=1#f": "https://x.com/?ig_access_token=[redacted]&b=1#f",
    "https://acme:hunter2@cdn.example.com/a.png": "https://[redacted]@cdn.example.com/a.png",
    f"GET https://www.googleapis.com/upload?part=id&key={GOOGLE}": "GET https://www.googleapis.com/upload?part=id&key=[redacted]",
    f"https://api.telegram.org/bot{TELEGRAM}/sendMessage": "https://api.telegram.org/[redacted]/sendMessage",
    f"The session {JWT} has ended.": "The session [redacted] has ended.",
    f"Invalid token: {FACEBOOK}.": "Invalid token: [redacted].",
    "The token = abc123 is old": "The token = [redacted] is old",
    "password: hunter": "password: [redacted]",
    f"Key {OWN_KEY} was used.": "Key [redacted] was used.",
    f"Key {LETTERS}": "Key [redacted]",
    OWN_KEY.replace("pe_live", "acme"): "[redacted]",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "[redacted]",
    '{"set-cookie": ["sid=abc; HttpOnly"]}': '{"set-cookie": ["[redacted]"]}',
    '{"token": [\n  "a]b",\n  "c"\n], "x": ["d"]}': '{"token": [\n  "[redacted]"\n], "x": ["d"]}',
    '{"pin_token": 998877}': '{"pin_token": [redacted]}',
    '{"pin_token":-1.5e9,"id":17895695}': '{"pin_token":[redacted],"id":17895695}',
    '{"pin_token": [998877, 1], "ids": [1, 2]}': '{"pin_token": [[redacted]], "ids": [1, 2]}',
    '"access_token": abc123\nid: 5': '"access_token": [redacted]\nid: 5',
    "bearer:ya29abc123": "bearer:[redacted]",
    "Bearer: abc123def, then": "Bearer: [redacted], then",
    '["Bearer abc123def"]': '["Bearer [redacted]"]',
    "access_token => abc123": "access_token => [redacted]",
    ':access_token=>"a b", :id=>5': ':access_token=>"[redacted]", :id=>5',
    "'access_token' => 'abc', 'id' => 5": "'access_token' => '[redacted]', 'id' => 5",
    "[access_token] => abc123": "[access_token] => [redacted]",
    "<access_token>abc</access_token>": "<access_token>[redacted]</access_token>",
    '<o:token n="1">a b</o:token><id>5</id>': '<o:token n="1">[redacted]</o:token><id>5</id>',
    "<token><![CDATA[abc]]></token>": "<token><![CDATA[[redacted]]]></token>",
    "&lt;token&gt;abc&lt;/token&gt;": "&lt;token&gt;[redacted]&lt;/token&gt;",
    "&quot;token&quot;:&quot;abc&quot;,": "&quot;token&quot;:&quot;[redacted]&quot;,",
    "access_token%3Dabc%2B1%26limit%3D5": "access_token%3D[redacted]%26limit%3D5",
    "a%3Faccess_token%253Dabc%2526limit": "a%3Faccess_token%253D[redacted]%2526limit",
    "%22access_token%22%3A%22abc%22%2C%22id%22%3A5": "%22access_token%22%3A%22[redacted]%22%2C"
    "%22id%22%3A5",
    "authorization%3A%20Bearer%20abc%0AHost": "authorization%3A%20Bearer%20[redacted]%0AHost",
    '{"key": "-----BEGIN PRIVATE KEY-----\\nMIIE and the rest': '{"key": "[redacted]',
    "signed with 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c": "signed with [redacted]",
}

UNREDACTED = [
    "The platform did not answer in time.",
    "Error validating access token: Session has expired on Wednesday, 15-Apr-26 08:00:00 PDT.",
    "Invalid OAuth access token.",
    "Invalid token: expired",
    "Token validation failed",
    "OAuth permission missing: pages_manage_posts",
    "Basic Display API was shut down; bearer tokens are refused",
    "(#10) Application does not have permission for this action",
    "max_tokens: 500, retries=3, key 12, keyboard: qwerty",
    '{"error":{"message":"Unsupported post request.","type":"OAuthException","code":100,'
    '"error_subcode":33,"fbtrace_id":"AbCdEf1234567890"}}',
    '{"token_type": "bearer", "expires_in": 3600, "next": null}',
    '{"token": null, "password":null, "secret": true, "credentials": {"id": 5}}',
    '{"message":"Missing Bearer authentication"}',
    "token => expired",
    "<token>\n  <id>5</id>\n</token>",
    "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
    "sk-hynix-announces-a-new-memory, the ASIA and AKIABARA offices, xoxo",
    "https://example.com/?next=https%3A%2F%2Fexample.org%2F%3Fid%3D5",
    "urn:li:share:7123456789012345678",
    "17895695668004550_17895695668004551",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "https://www.instagram.com/p/C1a2b3c4d5e/?igsh=1",
    "https://www.linkedin.com/posts/acme_we-are-hiring-5-people-activity-7123456789012345678-AbCd",
    "https://www.tiktok.com/@acme/video/7123456789012345678",
    "https://example.com:8080/a:b/c@d",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk",
    f"At {NOW.isoformat()} the limit of 1,000,000 was reached (HTTP 429).",
    "Zu viele Anfragen – 発信 失敗 🚀",
]


@pytest.mark.parametrize(("text", "expected"), SECRETS.items())
def test_secret_is_redacted_and_its_context_stays(text: str, expected: str) -> None:
    assert redact(text, max_length=2000) == expected


@pytest.mark.parametrize("text", UNREDACTED)
def test_text_without_secret_stays(text: str) -> None:
    assert redact(text, max_length=2000) == text


@pytest.mark.parametrize(
    "secret", [FACEBOOK, JWT, OWN_KEY, LETTERS, TELEGRAM, GOOGLE, *SECRET_FORMATS]
)
@pytest.mark.parametrize(
    "text",
    ["{}", "({})", '"{}"', "a {}, b", "https://x.com/{}/a", "https://x.com/?q={}&b=1", "a\n{}\n"],
)
def test_secret_of_known_format_is_redacted_in_any_position(text: str, secret: str) -> None:
    assert redact(text.format(secret), max_length=2000) == text.format(REDACTED)


def test_long_text_is_truncated_between_words() -> None:
    assert redact("one two three", max_length=13) == "one two three"
    assert redact("one two three", max_length=12) == "one two…"
    assert redact("one,two;three four", max_length=12) == "one,two…"
    assert redact("a" * 30, max_length=10) == "aaaaaaaaa…"
    assert redact("", max_length=10) == ""


@pytest.mark.parametrize("length", range(1000, 1120))
def test_truncation_never_leaves_part_of_a_secret(length: int) -> None:
    json = '{"n":1},' * 125
    for text in (f"{'a b ' * 250}Bearer {FACEBOOK}", f'{json}"{OWN_KEY}"'):
        for max_length in (length, length // 2):
            redacted = redact(text, max_length=max_length)
            assert not any(secret[:8] in redacted for secret in (FACEBOOK, OWN_KEY))


def test_unstorable_and_control_characters_are_replaced() -> None:
    assert redact("a\0b\ud800c\udfffd", max_length=10) == "a\ufffdb\ufffdc\ufffdd"
    assert redact("\x1b[2Jok\r\x08\x7f\x9b1m", max_length=20) == "\ufffd[2Jok" + "\ufffd" * 4 + "1m"
    assert redact("a\tb\nc\r\nd", max_length=10) == "a\tb\nc\nd"


URLS = {
    "https://acme:hunter2@example.com/p/1": "https://example.com/p/1",
    "https://ghp_abc@example.com:8443/p/1": "https://example.com:8443/p/1",
    "https://a:b@c:d@example.com/@acme": "https://example.com/@acme",
    "https://example.com/p/1?access_token=abc&b=1#f": "https://example.com/p/1?access_token=[redacted]"
    "&b=1#f",
    "https://example.com/p/1#access_token=abc": "https://example.com/p/1#access_token=[redacted]",
    f"https://example.com/p/1?q={GOOGLE}": "https://example.com/p/1?q=[redacted]",
}
PUBLIC_URLS = [
    "https://www.facebook.com/acme/posts/pfbid02ABCdefGHIjklMNOpqr5tuvWXYz0123456789abcdefGHIjklMNOpqrl",
    "https://www.linkedin.com/posts/acme_we-are-hiring-5-people-activity-7123456789012345678-AbCd",
    "https://www.instagram.com/p/C1a2b3c4d5e/?igsh=MzRlODBiNWFlZA==",
    "https://medium.com/@acme/a-title-1a2b3c4d5e6f?source=a:b@c",
    "https://bsky.app/profile/did:plc:ewvi7nxzyoun6zhxrhs64oiz/post/3kabcdefghi2x",
    "https://example.com?a=1@b",
]


@pytest.mark.parametrize(("url", "expected"), [*URLS.items(), *((url, url) for url in PUBLIC_URLS)])
def test_url_loses_user_and_secrets(url: str, expected: str) -> None:
    assert redact_url(url) == expected
    assert redact_url(expected) == expected


ALPHABET = sorted(set("".join(SECRETS)) | set("\0\ud800\n\\é"))
TEXT_FRAGMENTS = [
    *SECRETS,
    *UNREDACTED,
    "Bearer ",
    "token",
    "secret: ",
    "key=",
    '"',
    "\\",
    " ",
    "://",
    "@",
    "eyJ",
    "…",
]
TEXTS = st.one_of(
    st.text(),
    st.text(ALPHABET),
    st.lists(st.sampled_from(TEXT_FRAGMENTS) | st.text(ALPHABET, max_size=5)).map("".join),
)


@given(TEXTS, st.integers(12, 300))
def test_redacted_text_fits_and_can_be_stored(text: str, max_length: int) -> None:
    validate_text(redact(text, max_length=max_length), "raw", max_length=max_length)


@given(TEXTS, st.integers(12, 300))
def test_redaction_is_idempotent(text: str, max_length: int) -> None:
    once = redact(text, max_length=max_length)
    assert redact(once, max_length=max_length) == once


@given(TEXTS, TEXTS)
def test_text_after_twice_the_maximum_length_is_ignored(text: str, rest: str) -> None:
    """The work is bounded by the maximum length, not by the length of the text."""
    text = (text or "a") * 80
    start = text[:80]
    assert redact(start + "!" + rest, max_length=40) == redact(start + "?", max_length=40)


@pytest.mark.parametrize("letter", ALPHABET)
def test_megabyte_of_one_character_is_truncated(letter: str) -> None:
    assert len(redact(letter * 1_000_000, max_length=4096)) <= 4096


FRAGMENTS = [
    *("a", "A", "0", "-", "_", ".", ":", "/", '"', "\\", "=", " ", "\n", "@", "é", "\r"),
    *("a-", "a/", "eyJ-", "token", "token:", "token:.", '\\"', "a=", "Bearer ", "://a:", "bot1"),
    *('"token":["', '"token":["a",', '"token": 1', '"token":[1', "token] =>", "bearer:", "xoxb-"),
    *("<token>  ", "<token a", "<token><![CDATA[", "&lt;token", "&quot;", "token&quot;:&quot;"),
    *("token%3D", "token%3D%", "token%25", "%22token%22%3A%22", "token%3A+", "%25", "AKIA", "ghp_"),
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END ", "N-", "SG.", "token:   "),
]


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_redaction_takes_linear_time(fragment: str) -> None:
    """With quadratic time, this would take minutes."""
    for start in ("", '"token":["', "-----BEGIN PRIVATE KEY-----END"):
        text = start + fragment * (100_000 // len(fragment))
        assert len(redact(text, max_length=100_000)) <= 100_000
