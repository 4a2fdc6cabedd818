"""The web application."""

import os

from fastapi import FastAPI, Response

from app.greeting import greeting

app = FastAPI(title="hello-python")


@app.get("/")
def greet(name: str = "world") -> dict[str, str]:
    """Greets whoever asks, in the words that the deployment configures."""
    return {"message": greeting(os.environ.get("GREETING", "Hello"), name)}


@app.get("/version")
def version() -> dict[str, str]:
    """Tells the commit that the image was built from."""
    return {"commit": os.environ.get("APP_COMMIT", "unknown")}


@app.get("/healthz")
def healthz() -> Response:
    """Answers as soon as requests are served."""
    return Response("ok", media_type="text/plain")
