package moat

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const eventsDoc = "docs/reference/events.md"

// docRows returns the text of the document and the cells of all rows of its tables by the
// first word of the section and the first cell: "Fields actor".
func docRows(t *testing.T) (text string, rows map[string][]string) {
	t.Helper()
	b, err := os.ReadFile(eventsDoc)
	if err != nil {
		t.Fatal(err)
	}
	rows = make(map[string][]string)
	section := ""
	for _, line := range strings.Split(string(b), "\n") {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section, _, _ = strings.Cut(title, " ")
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		name := section + " " + strings.Trim(cells[0], "`")
		if rows[name] != nil {
			t.Errorf("%s stands twice in %s", name, eventsDoc)
		}
		rows[name] = cells[1:]
	}
	return string(b), rows
}

// valueText is how the document writes the kind and the limits of f.
func valueText(f *Field) string {
	switch f.Kind {
	case KindString:
		return fmt.Sprintf("string ≤ %d", f.Max)
	case KindStrings:
		return fmt.Sprintf("≤ %d strings ≤ %d", f.MaxItems, f.Max)
	case KindInt:
		return "integer ≥ 0"
	case KindBool:
		return "true or false"
	case KindTime:
		return "time"
	case KindObject:
		return fmt.Sprintf("object ≤ %d", f.Max)
	}
	if f.ID == FieldType {
		return "one of [Types](#types)"
	}
	return "`" + strings.Join(f.Enum, "` `") + "`"
}

func TestEventsDocument(t *testing.T) {
	text, rows := docRows(t)
	want := make(map[string]bool)
	for _, f := range Fields[1:] {
		want["Fields "+f.Name] = true
		if row := rows["Fields "+f.Name]; len(row) != 2 || row[0] != valueText(&f) || row[1] == "" {
			t.Errorf("field %s: row %q, want %q and a meaning", f.Name, row, valueText(&f))
		}
	}
	for name, must := range mustCarry {
		want["Types "+name] = true
		cell := "`" + strings.ReplaceAll(strings.Join(must, "`, `"), " or ", "` or `") + "`"
		row := rows["Types "+name]
		if len(row) != 4 || row[1] != cell {
			t.Errorf("type %s: row %q, want %s", name, row, cell)
			continue
		}
		typ, err := ParseEventType(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, usual := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			if FieldByName(usual[1]) == nil {
				t.Errorf("type %s: %s is no field", name, usual[1])
			}
		}
		e := &Event{Type: typ, Time: Second}
		complete(e)
		b, err := OCSF(e)
		if err != nil {
			t.Fatal(err)
		}
		if class := checkOCSF(t, b)["class_uid"]; !strings.HasSuffix(row[3], fmt.Sprint(" ", class)) {
			t.Errorf("type %s: the document says %s, OCSF class is %v", name, row[3], class)
		}
	}
	for _, code := range problemCodes(t) {
		want["Problems "+code] = true
		if row := rows["Problems "+code]; len(row) != 2 {
			t.Errorf("code %s: row %q", code, row)
		}
	}
	for name := range rows {
		if !want[name] {
			t.Errorf("%s is documented, but is no field, type or code", name)
		}
	}
	if !strings.Contains(text, "version "+OCSFVersion) || !strings.Contains(text, fmt.Sprintf("nested more than %d deep, in an unknown field more than %d", MaxDepth, MaxDepth-2)) {
		t.Error("the version of OCSF or the depth is not the code's")
	}
}

// problemCodes reads the Code constants from the source, so that a new one cannot be forgotten.
func problemCodes(t *testing.T) (codes []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Code") {
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code)
		}
		return true
	})
	if len(codes) < 11 {
		t.Fatalf("only %d codes found", len(codes))
	}
	return codes
}

func TestEventsDocumentExamples(t *testing.T) {
	text, _ := docRows(t)
	n := 0
	for _, block := range strings.Split(text, "```json\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
			var e Event
			if err := NewDecoder().Decode([]byte(line), &e); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if e.Has(FieldExtra) {
				t.Errorf("%s: has unknown fields", line)
			}
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d examples, want 4", n)
	}
}
