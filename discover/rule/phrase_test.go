package rule

import (
	"os"
	"strings"
	"testing"
)

// TestPhraseDocs looks each phrase up where writers of rules would.
func TestPhraseDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/detectors.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range phrases {
		row := "| `" + p.name + "()` | " + strings.ToUpper(p.doc[:1]) + p.doc[1:] + " |"
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/detectors.md lacks\n%s", row)
		}
	}
}
