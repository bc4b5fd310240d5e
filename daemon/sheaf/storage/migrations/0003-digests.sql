-- What was handed out without being in any digest (storage/damage.py).
--
-- Whether an envelope is kept out of its documents stands in its own row now, under that row's
-- digest: a bit flipped in `quarantine` let such an envelope in. Digests of all other envelopes
-- stay as they are. A row that is damaged already keeps its old digest and stays damaged.
-- `envelopes.before` is no longer read; it stays, as 0 in new rows, because taking a column out
-- would rewrite every envelope.

ALTER TABLE envelopes ADD COLUMN is_quarantined INTEGER NOT NULL DEFAULT 0;

UPDATE envelopes SET
    is_quarantined = 1,
    digest = (
        SELECT quarantined_digest(s.space_id, l.log_id, seq, env_id, is_opened, documents, raw, envelopes.digest)
        FROM logs l JOIN spaces s ON s.space = l.space WHERE l.log = envelopes.log
    )
WHERE ord IN (
    SELECT e.ord FROM quarantine q JOIN logs l ON l.space = q.space
    JOIN envelopes e ON e.log = l.log AND e.seq = q.seq AND e.env_id = q.env_id
);

ALTER TABLE documents ADD COLUMN digest BLOB NOT NULL DEFAULT x'';

UPDATE documents SET digest = (
    SELECT document_digest(s.space_id, doc_id, updated_ms) FROM spaces s WHERE s.space = documents.space
);
