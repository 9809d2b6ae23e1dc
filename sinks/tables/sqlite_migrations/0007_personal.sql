-- Personal data of messages, never in clear, and the list of what was erased (docs/decisions/0011).

-- One row for every personal value a postback gave.
CREATE TABLE personal_data (
    message_id TEXT NOT NULL,
    kind       TEXT NOT NULL,               -- recipient, contact, ip or user_agent
    digest     TEXT NOT NULL,               -- HMAC-SHA-256 of the normalized value, hexadecimal
    sealed     TEXT,                        -- AES-SIV of the value, base64; NULL where only the digest is kept
    PRIMARY KEY (message_id, kind, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX personal_data_by_digest ON personal_data (digest);

-- What no row may hold again, whatever is replayed; never the recipient in clear. A copy is in erasures.jsonl.
CREATE TABLE erasures (
    seq       INTEGER PRIMARY KEY,
    digest    TEXT NOT NULL UNIQUE,         -- HMAC-SHA-256 of the normalized value, hexadecimal
    shape     TEXT NOT NULL,                -- address, phone, identifier, or message: an erased recipient's message
    chars     INTEGER NOT NULL,             -- length of the value
    key_id    TEXT NOT NULL,                -- which key the digest was made with
    erased_at TEXT NOT NULL
) STRICT;
