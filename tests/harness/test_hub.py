"""Published weights when the Hub does not answer: it is asked once, and the cache is used."""

import huggingface_hub
import pytest

from harness.models import hub
from harness.models.build import build_network

WEIGHTS = {"builder": "timm", "name": "resnet18", "kwargs": {"num_classes": 10, "pretrained": True}}
NOWHERE = "http://127.0.0.1:9"
"""A port on which nothing listens."""


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The URLs that the Hub's client requests; its cache is empty, and a pause before a retry fails the test."""
    constants, client = huggingface_hub.constants, huggingface_hub.utils._http
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(client.time, "sleep", lambda _seconds: pytest.fail("it waits to ask again"))
    requests = []
    real = hub.urlopen

    def urlopen(request, **options):
        requests.append(request.full_url)
        return real(request, **options)

    monkeypatch.setattr(hub, "urlopen", urlopen)
    return requests


def test_it_is_asked_once_and_the_weights_are_refused_at_once(asked):
    with pytest.raises(Exception, match="local cache"):
        build_network(WEIGHTS)
    assert asked == [NOWHERE]
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False


def test_whoever_is_offline_by_choice_asks_nobody(asked, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with hub.hub_in_one_try():
        pass
    assert asked == []
    assert huggingface_hub.constants.HF_HUB_OFFLINE is True


def test_networks_on_fresh_weights_ask_nobody(asked):
    build_network({"builder": "timm", "name": "resnet18", "kwargs": {"num_classes": 10}})
    assert asked == []


def test_a_hub_that_answers_with_an_error_is_there(monkeypatch):
    def forbidden(request, **_options):
        raise hub.HTTPError(request.full_url, 403, "no", {}, None)

    monkeypatch.setattr(hub, "urlopen", forbidden)
    assert hub.hub_answers()
