-- Who complained about which order. An order that passed through several partners has a row for each.

CREATE TABLE complaints (
  id        TEXT NOT NULL PRIMARY KEY,
  partner   TEXT NOT NULL,
  time      BIGINT NOT NULL, -- of the contact, else of the complaint
  filed     BIGINT NOT NULL,
  order_id  TEXT NOT NULL,
  kind      TEXT NOT NULL,
  reporter  TEXT NOT NULL, -- a keyed hash
  filed_by  TEXT NOT NULL, -- the partner that passed it on, empty: the operator
  channel   TEXT NOT NULL
);
CREATE INDEX complaints_filed ON complaints (filed);
CREATE INDEX complaints_time ON complaints (time, id);
CREATE INDEX complaints_partner ON complaints (partner, time, id);
CREATE INDEX complaints_order ON complaints (order_id, time, id);
CREATE INDEX complaints_reporter ON complaints (reporter, order_id);
CREATE INDEX complaints_filed_by ON complaints (filed_by, order_id);
