package drill

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// savedCase is a case with the truth about it.
type savedCase struct {
	Seed  uint64 `json:"seed"`
	False bool   `json:"false"`
	moat.Case
}

// savedFinding is a finding with its seed.
type savedFinding struct {
	Seed uint64 `json:"seed"`
	*Finding
}

// Save writes findings.ndjson, cases.ndjson and thefts.ndjson into a folder.
func Save(ctx context.Context, s *Set, odds risk.Calibration, dir string) error {
	all, err := s.judge(ctx, odds)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot save drill: %w", err)
	}
	return errors.Join(
		saveLines(dir, "findings", all, func(j *judged, line func(any) error) error {
			for i := range j.Findings {
				if err := line(savedFinding{j.Seed, &j.Findings[i]}); err != nil {
					return err
				}
			}
			return nil
		}),
		saveLines(dir, "cases", all, func(j *judged, line func(any) error) error {
			for i := range j.cases {
				if err := line(savedCase{j.Seed, j.wrong[j.cases[i].ID], j.cases[i]}); err != nil {
					return err
				}
			}
			return nil
		}),
		saveLines(dir, "thefts", all, func(j *judged, line func(any) error) error {
			for i := range j.Outcomes {
				if err := line(saved(j, i)); err != nil {
					return err
				}
			}
			return nil
		}))
}

// saved is how a theft ended.
func saved(j *judged, i int) any {
	o := &j.Outcomes[i]
	var ids []string
	for _, c := range o.Cases() {
		ids = append(ids, c.ID)
	}
	return map[string]any{"seed": j.Seed, "theft": o.Theft, "found": o.Case != nil, "at": o.At, "cases": ids, "lost": o.Lost, "all": o.All}
}

func saveLines(dir, name string, all []*judged, each func(*judged, func(any) error) error) error {
	f, err := os.Create(filepath.Join(dir, name+".ndjson"))
	if err != nil {
		return fmt.Errorf("cannot save drill: %w", err)
	}
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, j := range all {
		if err = each(j, e.Encode); err != nil {
			break
		}
	}
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("cannot save drill: %w", err)
	}
	return nil
}
