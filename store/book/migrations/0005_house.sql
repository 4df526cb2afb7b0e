-- Findings about partners themselves, which are few beside those about accounts and devices.
CREATE INDEX findings_house ON findings (partner, time, id) WHERE kind IN ('app', 'partner');
