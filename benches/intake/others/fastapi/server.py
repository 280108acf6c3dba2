"""What a user would write with FastAPI: the SDK proves, SQLite keeps, and only then comes the answer."""

import json
import os
import sqlite3
import time

import smartcar
from fastapi import FastAPI, Request, Response

TOKEN = os.environ["SMARTCAR_TOKEN"]
DELAY = int(os.environ["FLUSH_DELAY_MS"]) / 1000

# Without a transaction that was begun, each statement commits.
db = sqlite3.connect("events.db", isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE events (id TEXT PRIMARY KEY, received REAL NOT NULL, body TEXT NOT NULL)")

app = FastAPI()


def flushed():
    """The slow disk: each insert flushes the WAL once, and all of the program waits for it. What SQLite flushes when
    it moves the WAL into its file is not slowed down, to its advantage."""
    if DELAY > 0:
        time.sleep(DELAY)


@app.post("/api/webhooks/smartcar")
async def receive(request: Request):
    body = (await request.body()).decode()
    if not smartcar.verify_payload(TOKEN, request.headers.get("sc-signature", ""), body):
        return Response(status_code=401)
    event = json.loads(body)
    db.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", (event["eventId"], time.time(), body))
    flushed()
    return {"status": "accepted"}
