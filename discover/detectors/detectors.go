// Package detectors is the knowledge of Moat: one YAML file per detector, or per several that are
// alike, in a folder per family, with doc, parameters and tests.
//
// Use [All] for the detectors that ship with Moat, and [Load] for a folder of one's own in the same form.
// It will not compile or run them: see packages rule and engine.
package detectors

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/moat-platform/moat/discover/rule"
)

//go:embed */*.yaml
var shipped embed.FS

//go:embed calibration.json
var calibration []byte

// CalibrationText is what was measured of the detectors that ship, in the form that package risk reads.
// It is the caller's.
func CalibrationText() []byte { return bytes.Clone(calibration) }

// Marks returns for each detector, by id, a mark of the text that it is written in: the first 16 hexadecimal digits
// of its SHA-256.
func Marks(list []*rule.Detector, sources map[string][]byte) map[string]string {
	out := make(map[string]string, len(list))
	for _, d := range list {
		sum := sha256.Sum256(sources[d.File])
		out[d.ID] = hex.EncodeToString(sum[:8])
	}
	return out
}

// MaxFiles bounds how many detector files a folder may hold.
const MaxFiles = 2000

// All returns the detectors that ship with Moat, and their sources by file name.
func All() ([]*rule.Detector, map[string][]byte, error) { return Load(shipped) }

// Load reads every .yaml file below the root of fsys. What is wrong with any of them comes as
// [rule.Problems], together with the detectors that could be read.
func Load(fsys fs.FS) ([]*rule.Detector, map[string][]byte, error) {
	var list []*rule.Detector
	var problems rule.Problems
	sources := map[string][]byte{}
	err := fs.WalkDir(fsys, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(file) != ".yaml" || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		if len(sources) == MaxFiles {
			return fmt.Errorf("there are more than %d detector files", MaxFiles)
		}
		src, err := fs.ReadFile(fsys, file)
		if err != nil {
			return fmt.Errorf("cannot read detector file: %w", err)
		}
		sources[file] = src
		of, err := rule.Parse(file, src)
		if err != nil {
			problems = append(problems, rule.AsProblems(err)...)
			return nil
		}
		list = append(list, of...)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return list, sources, problems.Err()
}
