-- What was planted where; the values are computed again. partner is who may see it: the one that placed it for
-- itself, empty: the operator alone.

CREATE TABLE canaries (
  id      TEXT NOT NULL PRIMARY KEY,
  partner TEXT NOT NULL,
  planted TEXT NOT NULL,
  channel TEXT NOT NULL,
  period  TEXT NOT NULL,
  kind    TEXT NOT NULL,
  placed  BIGINT NOT NULL,
  body    TEXT NOT NULL -- the lot as JSON
);
CREATE INDEX canaries_placed ON canaries (placed, id);
CREATE INDEX canaries_partner ON canaries (partner, placed, id);
