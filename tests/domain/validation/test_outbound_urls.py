"""URLs of outbound requests: accepted and normalised, or refused with the exact reason."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.outbound_rules import OutboundRules
from app.domain.validation.outbound_urls import (
    MAX_OUTBOUND_URL_LENGTH,
    OutboundUrl,
    parse_outbound_url,
    validate_outbound_url,
)

HTTPS_ONLY = OutboundRules()
HTTP_TOO = OutboundRules(allow_http=True)
PRIVATE_TOO = OutboundRules(allow_http=True, allowed_networks=(ip_network("10.0.0.0/8"),))

SCHEME = "url must be a URL that starts with https://."
HTTP_NOT_ALLOWED = (
    "url must start with https://. The operator of this server can allow http:// with"
    " OUTBOUND_ALLOW_HTTP=yes."
)
CHARACTERS = "url must not contain spaces, control characters or backslashes."
USER = "url must not contain a user name or password."
FRAGMENT = "url must not contain a fragment, which begins with #."
AUTHORITY = "url must have one host and at most one port; IPv6 addresses need brackets."
PORT = "url must have a port from 1 to 65535 after the colon, or no colon."
NO_HOST = "url must have a host."
NOT_ASCII = "url must have a host in ASCII; write its other characters in the form xn--…."
PERCENT = "url must have a host without percent signs: neither encoding nor a zone id."
ADDRESS = "url must have an IP address in its usual form, such as 198.51.100.7 or [2001:db8::7]."
TRAILING_DOT = "url must have a host without a dot at its end."
LABELS = (
    "url must have a host of at most 253 characters, whose labels have 1 to 63 letters, digits, hyphens and"
    " underscores, and no hyphen at their ends."
)
PATH = "url must have a path and query in ASCII; percent-encode other characters."


def not_public(host: str) -> str:
    return (
        f"url must have a public host; {host} is not public. Use a public host, or ask the operator of this"
        " server to allow its network in OUTBOUND_ALLOWED_NETWORKS."
    )


HOSTILE_URLS = [
    ("", SCHEME),
    ("hook.example/a", SCHEME),
    ("//hook.example/a", SCHEME),
    ("https:hook.example", SCHEME),
    ("https:/hook.example", SCHEME),
    ("ftp://hook.example/", SCHEME),
    ("file:///etc/passwd", SCHEME),
    ("gopher://hook.example/_x", SCHEME),
    ("javascript:alert(1)", SCHEME),
    ("httpſ://hook.example/", SCHEME),
    ("http://hook.example/", HTTP_NOT_ALLOWED),
    ("HTTP://hook.example/", HTTP_NOT_ALLOWED),
    (" https://hook.example/", CHARACTERS),
    ("https://hook.example/\n", CHARACTERS),
    ("https://hook.example/a b", CHARACTERS),
    ("https://hook.example/a\r\nX-Injected: 1", CHARACTERS),
    ("https://hook.example\t/", CHARACTERS),
    ("https://hook.example/\0", CHARACTERS),
    ("https://hook.example/\x7f", CHARACTERS),
    ("https://hook.example/\x85", CHARACTERS),
    ("https://hook.example/\u2028", CHARACTERS),
    ("https://hook.example/\u00a0", CHARACTERS),
    ("https://good.example\\@10.0.0.1/", CHARACTERS),
    ("https:\\\\hook.example\\", CHARACTERS),
    ("https://user@hook.example/", USER),
    ("https://user:password@hook.example/", USER),
    ("https://@hook.example/", USER),
    ("https://good.example@10.0.0.1/", USER),
    ("https://good.example:443@10.0.0.1/", USER),
    ("https://a@b@c.example/", USER),
    ("https://hook.example/#", FRAGMENT),
    ("https://hook.example#@10.0.0.1/", FRAGMENT),
    ("https://", NO_HOST),
    ("https:///path", NO_HOST),
    ("https://?a=b", NO_HOST),
    ("https://:443/", NO_HOST),
    ("https://hook.example:/", PORT),
    ("https://hook.example:0/", PORT),
    ("https://hook.example:65536/", PORT),
    ("https://hook.example:99999/", PORT),
    ("https://hook.example:0443/", PORT),
    ("https://hook.example:-1/", PORT),
    ("https://hook.example:+443/", PORT),
    ("https://hook.example:４４３/", PORT),
    ("https://hook.example:https/", PORT),
    ("https://hook.example:80:90/", AUTHORITY),
    ("https://::1/", AUTHORITY),
    ("https://2606:4700::1111/", AUTHORITY),
    ("https://[::1/", AUTHORITY),
    ("https://::1]/", AUTHORITY),
    ("https://[2606:4700::1111]x/", AUTHORITY),
    ("https://[2606:4700::1111][::1]/", AUTHORITY),
    ("https://bücher.example/", NOT_ASCII),
    ("https://①②⑦.⓪.⓪.①/", NOT_ASCII),
    ("https://１２７.0.0.1/", NOT_ASCII),
    ("https://127。0。0。1/", NOT_ASCII),
    ("https://hoo\u212a.example/", NOT_ASCII),
    ("https://ho\u00adok.example/", NOT_ASCII),
    ("https://hook\u200b.example/", NOT_ASCII),
    ("https://hook.example\u2024/", NOT_ASCII),
    ("https://\ud800.example/", NOT_ASCII),
    ("https://127.0.0.%31/", PERCENT),
    ("https://%6cocalhost/", PERCENT),
    ("https://hook.example%2f@evil/", USER),
    ("https://hook.example%00.evil.example/", PERCENT),
    ("https://[fe80::1%25eth0]/", PERCENT),
    ("https://[fe80::1%eth0]/", PERCENT),
    ("https://2130706433/", ADDRESS),
    ("https://0x7f000001/", ADDRESS),
    ("https://0x7f.1/", ADDRESS),
    ("https://0X7F.1/", ADDRESS),
    ("https://0177.0.0.1/", ADDRESS),
    ("https://017700000001/", ADDRESS),
    ("https://127.1/", ADDRESS),
    ("https://127.0.1/", ADDRESS),
    ("https://127.0.0.1.1/", ADDRESS),
    ("https://127.0.0.01/", ADDRESS),
    ("https://127.0.0.0x1/", ADDRESS),
    ("https://256.0.0.1/", ADDRESS),
    ("https://0/", ADDRESS),
    ("https://0x/", ADDRESS),
    ("https://hook.example.1/", ADDRESS),
    ("https://[]/", ADDRESS),
    ("https://[127.0.0.1]/", ADDRESS),
    ("https://[v1.fe80]/", ADDRESS),
    ("https://[:::1]/", ADDRESS),
    ("https://[hook.example]/", ADDRESS),
    ("https://hook.example./", TRAILING_DOT),
    ("https://127.0.0.1./", TRAILING_DOT),
    ("https://localhost./", TRAILING_DOT),
    ("https://./", TRAILING_DOT),
    ("https://.hook.example/", LABELS),
    ("https://hook..example/", LABELS),
    ("https://-hook.example/", LABELS),
    ("https://hook-.example/", LABELS),
    ("https://hook*.example/", LABELS),
    ("https://hook.example,evil.example/", LABELS),
    ("https://hook;evil.example/", LABELS),
    (f"https://{'a' * 64}.example/", LABELS),
    (f"https://{'a.' * 124}example/", LABELS),
    ("https://hook.example/ä", PATH),
    ("https://hook.example?q=ä", PATH),
    ("https://localhost/", not_public("localhost")),
    ("https://LOCALHOST:8443/", not_public("localhost")),
    ("https://a.localhost/", not_public("a.localhost")),
    ("https://printer.local/", not_public("printer.local")),
    ("https://metadata.google.internal/", not_public("metadata.google.internal")),
    ("https://nas.home.arpa/", not_public("nas.home.arpa")),
    ("https://metadata/", not_public("metadata")),
    ("https://127.0.0.1/", not_public("127.0.0.1")),
    ("https://0.0.0.0/", not_public("0.0.0.0")),
    ("https://10.0.0.1:8443/", not_public("10.0.0.1")),
    ("https://169.254.169.254/latest/meta-data/", not_public("169.254.169.254")),
    ("https://[::1]/", not_public("::1")),
    ("https://[::]/", not_public("::")),
    ("https://[::ffff:127.0.0.1]/", not_public(str(ip_address("::ffff:127.0.0.1")))),
    ("https://[0:0:0:0:0:FFFF:A00:1]/", not_public(str(ip_address("::ffff:10.0.0.1")))),
    ("https://[64:ff9b::10.0.0.1]/", not_public("64:ff9b::a00:1")),
    ("https://[fd00:ec2::254]/", not_public("fd00:ec2::254")),
]


@pytest.mark.parametrize(("url", "reason"), HOSTILE_URLS)
def test_hostile_url_is_refused_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_outbound_url(url, "url", HTTPS_ONLY)
    assert caught.value.message == reason
    assert caught.value.argument == "url"


def test_long_url_is_refused_with_the_limit() -> None:
    url = "https://hook.example/" + "a" * (MAX_OUTBOUND_URL_LENGTH - 21)
    assert validate_outbound_url(url, "url", HTTPS_ONLY) == url
    with pytest.raises(InvalidInput) as caught:
        validate_outbound_url(url + "a", "webhook.url", HTTPS_ONLY)
    assert caught.value.message == "webhook.url has 2049 characters; at most 2048 are allowed."
    assert caught.value.argument == "webhook.url"


@pytest.mark.parametrize(
    ("url", "normalized"),
    [
        ("https://hook.example", "https://hook.example/"),
        ("HTTPS://Hook.Example:443/A?B=C", "https://hook.example/A?B=C"),
        ("https://hook.example:8443/a//b/../c", "https://hook.example:8443/a//b/../c"),
        ("https://hook.example?a=b@c:d/e?f", "https://hook.example/?a=b@c:d/e?f"),
        ("https://hook.example/%0a%C3%A4|{}", "https://hook.example/%0a%C3%A4|{}"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://my_service.example/", "https://my_service.example/"),
        ("https://1and1.example.x1/", "https://1and1.example.x1/"),
        ("https://93.184.216.34:443/", "https://93.184.216.34/"),
        ("https://[2606:4700:0:0:0:0:0:1111]:443/", "https://[2606:4700::1111]/"),
        ("https://[2606:4700::1111]:8443/", "https://[2606:4700::1111]:8443/"),
        ("http://hook.example:80/", "http://hook.example/"),
        ("http://hook.example:443/", "http://hook.example:443/"),
    ],
)
def test_url_is_normalized(url: str, normalized: str) -> None:
    assert validate_outbound_url(url, "url", HTTP_TOO) == normalized
    assert validate_outbound_url(normalized, "url", HTTP_TOO) == normalized


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1:8000/", "https://localhost/", "https://receiver/", "https://a.internal/"],
)
def test_local_host_is_accepted_with_allowed_networks(url: str) -> None:
    assert validate_outbound_url(url, "url", PRIVATE_TOO) == url


def test_address_outside_of_allowed_networks_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"192\.168\.0\.1 is not public"):
        validate_outbound_url("http://192.168.0.1/", "url", PRIVATE_TOO)


def test_parts_are_those_of_the_request() -> None:
    assert parse_outbound_url("https://[::1]:8443?a", "url", HTTPS_ONLY) == OutboundUrl(
        scheme="https", host="::1", address=ip_address("::1"), port=8443, target="/?a"
    )


@given(st.text(alphabet="ht:/?#@[]%.0x7f1-a\\ \n①ä", max_size=40).map("https://".__add__))
def test_accepted_url_is_stable_and_has_one_reading(text: str) -> None:
    try:
        url = validate_outbound_url(text, "url", HTTPS_ONLY)
    except InvalidInput:
        return
    assert url.isascii()
    assert validate_outbound_url(url, "url", HTTPS_ONLY) == url
