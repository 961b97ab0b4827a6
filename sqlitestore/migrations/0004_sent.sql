-- What the request sent, for events whose stored content has another digest: a
-- JSON list with null for the others. Under AcceptAll these can differ.
ALTER TABLE requests ADD COLUMN sent TEXT;
