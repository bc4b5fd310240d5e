-- What other devices said they hold, and how far each mailbox on each relay was read and filled
-- (PROTOCOL §7). `state` is canonical CBOR: core/protocol/receipt_book.py, node/mailbox_memory.py.

CREATE TABLE receipts (
    space     INTEGER NOT NULL REFERENCES spaces,
    device_id BLOB NOT NULL,
    state     BLOB NOT NULL,
    digest    BLOB NOT NULL,
    PRIMARY KEY (space, device_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE mailboxes (
    space      INTEGER NOT NULL REFERENCES spaces,
    url        TEXT NOT NULL,
    mailbox_id BLOB NOT NULL,
    state      BLOB NOT NULL,
    digest     BLOB NOT NULL,
    PRIMARY KEY (space, url, mailbox_id)
) STRICT, WITHOUT ROWID;
