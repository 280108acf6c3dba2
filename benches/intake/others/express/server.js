// What a user would write with Express: the SDK proves, SQLite keeps, and only then comes the answer.

import Database from "better-sqlite3";
import express from "express";
import smartcar from "smartcar";

const { SMARTCAR_TOKEN, PORT, FLUSH_DELAY_MS } = process.env;

const db = new Database("events.db");
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");
db.exec("CREATE TABLE events (id TEXT PRIMARY KEY, received INTEGER NOT NULL, body TEXT NOT NULL)");
const insert = db.prepare("INSERT OR IGNORE INTO events VALUES (?, ?, ?)");

// The slow disk: each insert flushes the WAL once, and all of the program waits for it. What SQLite flushes when it
// moves the WAL into its file is not slowed down, to its advantage.
const nobody = new Int32Array(new SharedArrayBuffer(4));
const delay = Number(FLUSH_DELAY_MS);
const flushed = () => delay > 0 && Atomics.wait(nobody, 0, 0, delay);

const app = express();
const keepRaw = (request, _response, raw) => {
  request.raw = raw;
};
app.use(express.json({ limit: "64kb", verify: keepRaw }));

app.post("/api/webhooks/smartcar", (request, response) => {
  // The SDK's verifyPayload writes the body anew, and refuses numbers such as 12.50: its HMAC over the bytes as they
  // came is right, and cheaper.
  if (smartcar.hashChallenge(SMARTCAR_TOKEN, request.raw) !== request.get("sc-signature")) {
    response.sendStatus(401);
    return;
  }
  insert.run(request.body.eventId, Date.now(), request.raw.toString());
  flushed();
  response.json({ status: "accepted" });
});

app.listen(Number(PORT), "127.0.0.1");
