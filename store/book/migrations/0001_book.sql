-- The first shape of the book. One dialect for SQLite and PostgreSQL: TEXT and
-- BIGINT only, times in microseconds since 1970 (0: not given), no quoting.

CREATE TABLE partners (
  partner TEXT NOT NULL PRIMARY KEY,
  name    TEXT NOT NULL,
  edition TEXT NOT NULL,
  created BIGINT NOT NULL
);

CREATE TABLE api_keys (
  id       TEXT NOT NULL PRIMARY KEY,
  partner  TEXT NOT NULL,
  app      TEXT NOT NULL,
  operator BIGINT NOT NULL,
  name     TEXT NOT NULL,
  master   TEXT NOT NULL, -- fingerprint of the master key that it was made with
  created  BIGINT NOT NULL,
  revoked  BIGINT NOT NULL
);
CREATE INDEX api_keys_created ON api_keys (created, id);

CREATE TABLE findings (
  id       TEXT NOT NULL PRIMARY KEY,
  partner  TEXT NOT NULL,
  time     BIGINT NOT NULL,
  detector TEXT NOT NULL,
  kind     TEXT NOT NULL,
  entity   TEXT NOT NULL,
  body     TEXT NOT NULL -- the finding as JSON
);
CREATE INDEX findings_time ON findings (time, id);
CREATE INDEX findings_partner ON findings (partner, time, id);
CREATE INDEX findings_entity ON findings (entity, kind, time, id);
CREATE INDEX findings_detector ON findings (detector, time, id);

CREATE TABLE cases (
  id      TEXT NOT NULL PRIMARY KEY,
  partner TEXT NOT NULL,
  opened  BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  rank    BIGINT NOT NULL,
  body    TEXT NOT NULL, -- the case as JSON, without what people own:
  state   TEXT NOT NULL,
  owner   TEXT NOT NULL,
  verdict TEXT NOT NULL
);
CREATE INDEX cases_opened ON cases (opened, id);
CREATE INDEX cases_partner ON cases (partner, opened, id);

-- What a case can be found by: its entities and its detectors.
CREATE TABLE case_marks (
  case_id TEXT NOT NULL,
  kind    TEXT NOT NULL, -- an entity kind, or detector
  value   TEXT NOT NULL,
  PRIMARY KEY (case_id, kind, value)
);
CREATE INDEX case_marks_value ON case_marks (value, kind, case_id);

CREATE TABLE case_findings (
  case_id TEXT NOT NULL,
  finding TEXT NOT NULL,
  PRIMARY KEY (case_id, finding)
);

CREATE INDEX case_findings_finding ON case_findings (finding);

CREATE TABLE decisions (
  id        TEXT NOT NULL PRIMARY KEY,
  partner   TEXT NOT NULL,
  scope     TEXT NOT NULL,
  value     TEXT NOT NULL,
  action    BIGINT NOT NULL,
  starts    BIGINT NOT NULL,
  ends      BIGINT NOT NULL,
  origin    TEXT NOT NULL,
  case_id   TEXT NOT NULL,
  reason    TEXT NOT NULL,
  approval  TEXT NOT NULL,
  undone    BIGINT NOT NULL,
  undone_by TEXT NOT NULL
);
CREATE INDEX decisions_starts ON decisions (starts, id);
CREATE INDEX decisions_partner ON decisions (partner, starts, id);
CREATE INDEX decisions_value ON decisions (value, scope, starts, id);
CREATE INDEX decisions_case ON decisions (case_id, starts, id);
CREATE INDEX decisions_ends ON decisions (ends);

CREATE TABLE approvals (
  decision TEXT NOT NULL,
  person   TEXT NOT NULL,
  time     BIGINT NOT NULL,
  PRIMARY KEY (decision, person)
);

CREATE TABLE positions (
  part BIGINT NOT NULL PRIMARY KEY,
  seq  BIGINT NOT NULL
);

CREATE TABLE audit (
  seq     BIGINT NOT NULL PRIMARY KEY,
  time    BIGINT NOT NULL,
  partner TEXT NOT NULL,
  person  TEXT NOT NULL,
  act     TEXT NOT NULL,
  object  TEXT NOT NULL,
  detail  TEXT NOT NULL,
  hash    TEXT NOT NULL -- of the previous hash and this record
);
CREATE INDEX audit_partner ON audit (partner, seq);
CREATE INDEX audit_object ON audit (object, seq);

-- One row: the end of the chain. Updating it first also puts writers in line.
CREATE TABLE audit_head (
  id   BIGINT NOT NULL PRIMARY KEY,
  seq  BIGINT NOT NULL,
  hash TEXT NOT NULL
);
INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '');
