package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/dispose/playbook"
)

// LoadPlan compiles the detectors that ship with Moat and those in dir/detectors. The file
// dir/detectors.yaml, if it is there, changes modes and parameters: a mapping from detector id to
// {mode: …, params: {…}}.
func LoadPlan(dir string, seed rule.HashSeed) (*rule.Plan, error) {
	list, sources, err := detectors.All()
	if err != nil {
		return nil, fmt.Errorf("cannot read the detectors that ship: %w", err)
	}
	own := os.DirFS(filepath.Join(dir, "detectors"))
	if _, err := fs.Stat(own, "."); err == nil {
		more, src, err := detectors.Load(own)
		if err != nil {
			return nil, fmt.Errorf("cannot read the detectors in %s: %w", filepath.Join(dir, "detectors"), err)
		}
		list = append(list, more...)
		maps.Copy(sources, src)
	}
	overrides, err := loadOverrides(filepath.Join(dir, "detectors.yaml"))
	if err != nil {
		return nil, err
	}
	plan, err := rule.Compile(list, rule.Options{Seed: seed, Overrides: overrides, Sources: sources})
	if err != nil {
		return nil, fmt.Errorf("cannot compile the detectors: %w", err)
	}
	return plan, nil
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
