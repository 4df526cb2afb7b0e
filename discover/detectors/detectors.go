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
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/moat-platform/moat/discover/rule"
)

//go:embed */*.yaml
var shipped embed.FS

//go:embed calibration.json
var calibration []byte

// CalibrationText is what was measured of the detectors that ship, in the form that package risk reads.
// It is the caller's.
func CalibrationText() []byte { return bytes.Clone(calibration) }

// wording is the fields of a detector that say what it sees or how it is taken, and do not decide it.
var wording = [...]string{"title", "doc", "basis", "certain", "strange", "destination", "reason", "attack", "false_positives", "evasions", "tests"}

// Marks returns for each detector, by id, a mark of what decides in the text that it is written in: the first 16 hexadecimal
// digits of a SHA-256. Another wording leaves it as it is.
func Marks(list []*rule.Detector, sources map[string][]byte) map[string]string {
	byFile := map[string]string{}
	for name, src := range sources {
		sum := sha256.Sum256(deciding(src))
		byFile[name] = hex.EncodeToString(sum[:8])
	}
	out := make(map[string]string, len(list))
	for _, d := range list {
		out[d.ID] = byFile[d.File]
	}
	return out
}

// deciding returns a detector file without its wording, in a form that does not depend on how it is laid out.
func deciding(src []byte) []byte {
	var file map[string]any
	if yaml.Unmarshal(src, &file) != nil {
		return src
	}
	parts := []any{file}
	rows, _ := file["each"].([]any)
	for _, part := range append(parts, rows...) {
		if fields, ok := part.(map[string]any); ok {
			for _, name := range wording {
				delete(fields, name)
			}
		}
	}
	text, err := json.Marshal(file)
	if err != nil {
		return src
	}
	return text
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
