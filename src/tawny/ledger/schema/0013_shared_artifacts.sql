-- What tasks made, where several machines share the ledger: the bytes too, so that the gateway can show what a worker made.

CREATE TABLE artifact_contents (
    artifact_id TEXT PRIMARY KEY,
    data BYTEA NOT NULL
);
