-- Which campaign a case belongs to, by the id of the case that it began with: as who sees all partners' cases sees it, and as
-- who sees its partner's alone. Cases from before are campaigns by themselves until they change.
ALTER TABLE cases ADD COLUMN campaign TEXT NOT NULL DEFAULT '';
ALTER TABLE cases ADD COLUMN own_campaign TEXT NOT NULL DEFAULT '';
UPDATE cases SET campaign = id, own_campaign = id;
CREATE INDEX cases_campaign ON cases (campaign, opened, id);
CREATE INDEX cases_own_campaign ON cases (own_campaign, opened, id);

-- What ties a case to others.
CREATE TABLE case_ties (
  tie     TEXT NOT NULL,
  case_id TEXT NOT NULL,
  PRIMARY KEY (tie, case_id)
);
