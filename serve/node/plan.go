package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/dispose/playbook"
)

// LoadPlan compiles the detectors that ship with Moat and those in dir/detectors, of which
// one takes the place of the one that ships with the same id. The file
// dir/detectors.yaml, if it is there, changes modes and parameters: a mapping from detector id to
// {mode: …, params: {…}}.
func LoadPlan(dir string, seed rule.HashSeed) (*rule.Plan, error) {
	r, err := loadRules(dir)
	if err != nil {
		return nil, err
	}
	return r.compile(seed)
}

// rules are detectors before they are compiled.
type rules struct {
	list      []*rule.Detector
	sources   map[string][]byte
	overrides map[string]rule.Override
}

func loadRules(dir string) (r rules, err error) {
	if r.list, r.sources, err = detectors.All(); err != nil {
		return r, fmt.Errorf("cannot read the detectors that ship: %w", err)
	}
	own := os.DirFS(filepath.Join(dir, "detectors"))
	if _, err := fs.Stat(own, "."); err == nil {
		list, sources, err := detectors.Load(own)
		if err != nil {
			return r, fmt.Errorf("cannot read the detectors in %s: %w", filepath.Join(dir, "detectors"), err)
		}
		r.add(list, sources)
	}
	r.overrides, err = loadOverrides(filepath.Join(dir, "detectors.yaml"))
	return r, err
}

// add takes detectors in, in the place of those with the same ids.
func (r *rules) add(list []*rule.Detector, sources map[string][]byte) {
	r.list = slices.DeleteFunc(r.list, func(old *rule.Detector) bool {
		return slices.ContainsFunc(list, func(d *rule.Detector) bool { return d.ID == old.ID })
	})
	r.list = append(r.list, list...)
	maps.Copy(r.sources, sources)
}

func (r *rules) compile(seed rule.HashSeed) (*rule.Plan, error) {
	plan, err := rule.Compile(r.list, rule.Options{Seed: seed, Overrides: r.overrides, Sources: r.sources})
	if err != nil {
		return nil, fmt.Errorf("cannot compile the detectors: %w", err)
	}
	return plan, nil
}

// Calibration is what findings are worth, as measured of the detectors that ship. It leaves out those that
// dir changes.
func Calibration(dir string) (risk.Calibration, error) {
	r, err := loadRules(dir)
	if err != nil {
		return risk.Calibration{}, err
	}
	return r.calibration()
}

func (r *rules) calibration() (risk.Calibration, error) {
	c, err := risk.ParseCalibration(detectors.CalibrationText())
	if err != nil {
		return c, fmt.Errorf("cannot read the calibration that ships: %w", err)
	}
	marks := detectors.Marks(r.list, r.sources)
	for id, o := range r.overrides {
		if len(o.Params) > 0 {
			delete(marks, id)
		}
	}
	return c.For(marks), nil
}

// loadPlaybook reads the playbook at path, or gives the one that ships if there is no such file.
func loadPlaybook(path string) (*playbook.Playbook, error) {
	src, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return playbook.Default(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read playbook: %w", err)
	}
	return playbook.Load(path, src)
}

func loadOverrides(path string) (map[string]rule.Override, error) {
	src, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read overrides: %w", err)
	}
	var o map[string]rule.Override
	if err := yaml.Unmarshal(src, &o); err != nil {
		return nil, fmt.Errorf("cannot read overrides in %s: %w", path, err)
	}
	return o, nil
}
