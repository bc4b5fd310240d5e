-- The first schema (PROTOCOL §10).
--
-- Spaces, logs and documents have integer surrogate keys so that the rows that exist by the
-- million stay small. `ord` is the order in which rows were stored. `digest` is a BLAKE2b-16
-- over the row's meaning (storage/damage.py).

CREATE TABLE spaces (
    space      INTEGER PRIMARY KEY,
    space_id   BLOB NOT NULL UNIQUE,
    state      TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    digest     BLOB NOT NULL
) STRICT;

CREATE TABLE ops (
    ord    INTEGER PRIMARY KEY,
    space  INTEGER NOT NULL REFERENCES spaces,
    op_id  BLOB NOT NULL,
    raw    BLOB NOT NULL,
    digest BLOB NOT NULL,
    UNIQUE (space, op_id)
) STRICT;

CREATE TABLE epoch_secrets (
    space    INTEGER NOT NULL REFERENCES spaces,
    epoch_id BLOB NOT NULL,
    secret   BLOB NOT NULL,
    digest   BLOB NOT NULL,
    PRIMARY KEY (space, epoch_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    doc    INTEGER PRIMARY KEY,
    space  INTEGER NOT NULL REFERENCES spaces,
    doc_id BLOB NOT NULL,
    updated_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (space, doc_id)
) STRICT;

CREATE TABLE logs (
    log      INTEGER PRIMARY KEY,
    space    INTEGER NOT NULL REFERENCES spaces,
    log_id   BLOB NOT NULL,
    genesis  BLOB NOT NULL,
    next_seq INTEGER NOT NULL,
    state    BLOB NOT NULL,
    digest   BLOB NOT NULL,
    UNIQUE (space, log_id)
) STRICT;

-- Two envelopes may share (log, seq): a fork keeps both. `documents` is the doc_ids end to
-- end; `before` is the bytes of the log's earlier envelopes, for progress only.
CREATE TABLE envelopes (
    ord       INTEGER PRIMARY KEY,
    log       INTEGER NOT NULL REFERENCES logs,
    seq       INTEGER NOT NULL,
    env_id    BLOB NOT NULL,
    before    INTEGER NOT NULL,
    is_opened INTEGER NOT NULL,
    documents BLOB NOT NULL,
    digest    BLOB NOT NULL,
    raw       BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX envelopes_by_position ON envelopes (log, seq, env_id);
CREATE INDEX envelopes_sealed ON envelopes (log, seq) WHERE is_opened = 0;

CREATE TABLE envelope_documents (
    doc INTEGER NOT NULL REFERENCES documents,
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    ord INTEGER NOT NULL,
    PRIMARY KEY (doc, log, seq, ord)
) STRICT, WITHOUT ROWID;

CREATE TABLE pending (
    pending_id INTEGER PRIMARY KEY,
    doc        INTEGER NOT NULL REFERENCES documents,
    hlc_ms     INTEGER NOT NULL,
    agent      TEXT,
    digest     BLOB NOT NULL,
    content    BLOB NOT NULL
) STRICT;
CREATE INDEX pending_by_document ON pending (doc);

CREATE TABLE snapshots (
    doc            INTEGER PRIMARY KEY REFERENCES documents,
    covers         BLOB NOT NULL,
    digest         BLOB NOT NULL,
    content        BLOB NOT NULL
) STRICT;

CREATE TABLE invitations (
    space      INTEGER NOT NULL REFERENCES spaces,
    op_id      BLOB NOT NULL,
    secret     BLOB NOT NULL,
    ticket     TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    uses_max   INTEGER NOT NULL,
    is_revoked INTEGER NOT NULL,
    digest     BLOB NOT NULL,
    PRIMARY KEY (space, op_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE peers (
    space        INTEGER NOT NULL REFERENCES spaces,
    device_id    BLOB NOT NULL,
    version      BLOB NOT NULL,
    addresses    TEXT NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    digest       BLOB NOT NULL,
    PRIMARY KEY (space, device_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
    space     INTEGER NOT NULL REFERENCES spaces,
    client_id INTEGER NOT NULL,
    device_id BLOB NOT NULL,
    digest    BLOB NOT NULL,
    PRIMARY KEY (space, client_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    space  INTEGER NOT NULL REFERENCES spaces,
    env_id BLOB NOT NULL,
    log_id BLOB NOT NULL,
    seq    INTEGER NOT NULL,
    reason TEXT NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (space, env_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    name   TEXT PRIMARY KEY,
    value  BLOB NOT NULL,
    digest BLOB NOT NULL
) STRICT, WITHOUT ROWID;
