-- What people taught: verdicts, snoozes, promotions, and demotions that followed from verdicts.

CREATE TABLE lessons (
  seq    BIGINT NOT NULL PRIMARY KEY, -- 1, 2, 3, … without a gap
  kind   TEXT NOT NULL,
  object TEXT NOT NULL, -- id of a case, a snooze or a detector
  body   TEXT NOT NULL  -- the lesson as JSON
);
CREATE INDEX lessons_object ON lessons (object, seq);

-- One row: the last lesson. Updating it first puts writers in line.
CREATE TABLE lesson_head (
  id  BIGINT NOT NULL PRIMARY KEY,
  seq BIGINT NOT NULL
);
INSERT INTO lesson_head (id, seq) VALUES (1, 0);

-- After which message of the log each partition learned a lesson.
CREATE TABLE lesson_places (
  part   BIGINT NOT NULL,
  lesson BIGINT NOT NULL,
  place  BIGINT NOT NULL,
  PRIMARY KEY (part, lesson)
);

CREATE TABLE snoozes (
  id       TEXT NOT NULL PRIMARY KEY,
  partner  TEXT NOT NULL,
  kind     TEXT NOT NULL,
  entity   TEXT NOT NULL,
  detector TEXT NOT NULL, -- empty: any
  made     BIGINT NOT NULL,
  until    BIGINT NOT NULL,
  person   TEXT NOT NULL,
  reason   TEXT NOT NULL,
  ended    BIGINT NOT NULL, -- before its time
  ended_by TEXT NOT NULL
);
CREATE INDEX snoozes_made ON snoozes (made, id);
CREATE INDEX snoozes_partner ON snoozes (partner, made, id);
CREATE INDEX snoozes_entity ON snoozes (entity, kind, made, id);
