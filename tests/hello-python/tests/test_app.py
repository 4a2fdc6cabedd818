"""The application as a client sees it."""

from fastapi.testclient import TestClient

from app.greeting import greeting
from app.main import app

client = TestClient(app)


def test_it_greets_whoever_asks(monkeypatch):
    monkeypatch.setenv("GREETING", "Good morning")
    assert client.get("/", params={"name": "Ada"}).json() == {"message": "Good morning, Ada!"}


def test_it_greets_the_world_by_default(monkeypatch):
    monkeypatch.delenv("GREETING", raising=False)
    assert client.get("/").json() == {"message": "Hello, world!"}
    assert greeting("Hello", "  ") == "Hello, world!"


def test_it_tells_its_commit(monkeypatch):
    monkeypatch.setenv("APP_COMMIT", "4b1c9e2")
    assert client.get("/version").json() == {"commit": "4b1c9e2"}


def test_it_is_healthy():
    response = client.get("/healthz")
    assert (response.status_code, response.text) == (200, "ok")
