package rule_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/moat-platform/moat/discover/rule"
)

var update = flag.Bool("update", false, "write the golden files anew")

// base is a sound detector; each case of testdata/broken.txtar replaces some of its fields.
const base = `id: access.sample
dimension: B5
title: A sample
doc: A detector that is sound.
on: [order.access, auth.login]
subject: account
params:
  most: {default: 5, min: 1, max: 50, unit: orders, doc: how many are too many}
features:
  touched: {kind: count, window: 1h, where: event.outcome == "success"}
  ips: {kind: distinct, window: 1d, value: event.ip}
when: touched > params.most && ips.n >= 2
confidence: "0.5"
reason: "{touched} orders by {event.actor}"
false_positives: [a busy day]
evasions: [patience]
tests:
  - name: many
    script: |
      event order.access actor=alice ip=1.2.3.{i} orders=A{i} operation=view times=9
      expect finding account alice
  - name: few
    script: |
      event order.access actor=alice ip=1.2.3.4 orders=A1 operation=view
      expect none
`

var section = regexp.MustCompile(`(?m)^[^\s].*\n(?:\s.*\n|\n)*`)

// merge replaces the top fields of base that are in patch, and adds the others at the end.
func merge(patch string) string {
	key := func(s string) string { k, _, _ := strings.Cut(s, ":"); return strings.Trim(k, "@ ") }
	given := map[string]string{}
	var order []string
	for _, s := range section.FindAllString(patch, -1) {
		if given[key(s)] == "" {
			order = append(order, key(s))
		}
		given[key(s)] += s
	}
	var out strings.Builder
	for _, s := range section.FindAllString(base, -1) {
		if new, ok := given[key(s)]; ok {
			s = new
			delete(given, key(s))
		}
		if strings.TrimSpace(strings.Trim(s, "@")) != key(s)+": GONE" {
			out.WriteString(s)
		}
	}
	for _, k := range order {
		out.WriteString(given[k])
	}
	return out.String()
}

// check parses and compiles src.
func check(src string) rule.Problems {
	list, err := rule.Parse("sample.yaml", []byte(src))
	if err == nil {
		_, err = rule.Compile(list, rule.Options{Sources: map[string][]byte{"sample.yaml": []byte(src)}})
	}
	if err == nil {
		return nil
	}
	if p := rule.AsProblems(err); p != nil {
		return p
	}
	return rule.Problems{{What: "BUG: not a list of problems: " + err.Error()}}
}

func TestBase(t *testing.T) {
	if p := check(base); p != nil {
		t.Fatal(p[0].Display())
	}
}

// TestBroken compares what is said about broken files with testdata/broken.txtar. A file NAME.yaml
// is merged into base, NAME.raw stands alone; @@ marks where a problem must point,
// and NAME.want is all that is said. Run with -update after reading what changed.
func TestBroken(t *testing.T) {
	const path, count = "testdata/broken.txtar", 97
	golden, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range golden.Files {
		if name, ok := strings.CutSuffix(f.Name, ".want"); ok {
			want[name] = string(f.Data)
		}
	}
	out, cases := &txtar.Archive{Comment: golden.Comment}, 0
	for _, f := range golden.Files {
		name, kind, _ := strings.Cut(f.Name, ".")
		if kind == "want" {
			continue
		}
		cases++
		src := string(f.Data)
		if kind == "yaml" {
			src = merge(src)
		}
		t.Run(name, func(t *testing.T) {
			before, _, marked := strings.Cut(src, "@@")
			got := check(strings.ReplaceAll(src, "@@", ""))
			var b strings.Builder
			hit := !marked
			line := strings.Count(before, "\n") + 1
			column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
			for _, p := range got {
				b.WriteString(p.Display() + "\n")
				hit = hit || p.Line == line && p.Column == column
			}
			if len(got) == 0 {
				t.Error("nothing is said")
			}
			if !hit {
				t.Errorf("no problem points at %d:%d:\n%s", line, column, b.String())
			}
			out.Files = append(out.Files, f, txtar.File{Name: name + ".want", Data: []byte(b.String())})
			if b.String() != want[name] && !*update {
				t.Errorf("got\n%swant\n%s", b.String(), want[name])
			}
		})
	}
	if cases != count {
		t.Errorf("%d cases ran, want %d", cases, count)
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBrokenMade tries files that are too large, or not text, to be kept as a golden file.
func TestBrokenMade(t *testing.T) {
	noise := make([]byte, 3000)
	for i := range noise {
		noise[i] = byte(i * 131 >> 3)
	}
	for _, c := range []struct{ name, src, want string }{
		{"too large", base + "# " + strings.Repeat("x", rule.MaxFileBytes), "sample.yaml: the file has 66318 bytes, more than 65536"},
		{"empty", "", "sample.yaml: a detector file is one YAML mapping"},
		{"a list", "- a\n- b\n", "sample.yaml: a detector file is one YAML mapping"},
		{"binary", string(noise), "sample.yaml:1:1: "},
		{"terminal codes", "id: \x1b[31mred\n", "sample.yaml:1:1: "},
		{"deep", strings.Repeat("[", 60000), "sample.yaml:1:1: "},
		{"aliases", "a: &a [x, x]\nb: &b [*a, *a, *a]\nid: *b\n", "sample.yaml:1:4: anchors, aliases and tags have no place in a detector file"},
		{"a thousand things", strings.Repeat("unknown: 1\n", 5000), `sample.yaml:1:1: a detector has no field "unknown"`},
		{"one long line", "{" + strings.Repeat("zzz: 1, ", 8000) + "}", `sample.yaml:1:2: a detector has no field "zzz"`},
		{"long expression", merge("when: " + strings.Repeat("touched > 1 && ", 140) + "touched > 1\n"), "sample.yaml:12:7: the text has 2111 bytes, more than 2048"},
		{"many nodes", merge("when: " + strings.Repeat("ips>1||", 99) + "ips>1\n"), "sample.yaml:12:7: the expression has 399 nodes, more than 200: its cost would not be bounded well"},
		{"deep expression", merge("when: " + strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200) + "\n"), "sample.yaml:12:7: expression recursion limit exceeded: 32"},
		{"a family that grows", merge("id: GONE\neach:\n  - {id: access.a, what: " + strings.Repeat("x", 2000) + "}\ndoc: " + strings.Repeat("${what}", 40) + "\n"), "sample.yaml:26:5: row access.a: the texts of the row's detector have more than 65536 bytes"},
		{"many rows", merge("id: GONE\neach: [" + strings.Repeat("{id: access.a}, ", 33) + "]\n"), "sample.yaml:25:7: each must be a list of 1 to 32 rows"},
		{"long pattern", merge("when: event.ip.matches('" + strings.Repeat("a?", 150) + "')\n"), "sample.yaml:12:24: the pattern has 300 bytes, more than 256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := check(c.src)
			if len(got) == 0 {
				t.Fatal("nothing is said")
			}
			if len(got) > rule.MaxProblems {
				t.Errorf("%d problems, more than %d", len(got), rule.MaxProblems)
			}
			if !strings.HasPrefix(got[0].Error(), c.want) {
				t.Errorf("got  %s\nwant %s", got[0].Error(), c.want)
			}
			for _, p := range got {
				if d := p.Display(); len(d) > 2000 || strings.ContainsAny(d, "\x1b\x00\x07") {
					t.Fatalf("a message that is too long or not fit for a terminal: %.300q", d)
				}
			}
		})
	}
}

// TestDisplay shows the caret under tabs, wide lines and characters of more than a byte.
func TestDisplay(t *testing.T) {
	for _, c := range []struct {
		p    rule.Problem
		want string
	}{
		{rule.Problem{File: "f", What: "w"}, "f: w"},
		{rule.Problem{What: "w", Hint: "h"}, "w\n  hint: h"},
		{rule.Problem{File: "f", Line: 2, Column: 3, What: "w", Source: "\té=1"}, "f:2:3: w\n  |  é=1\n  |   ^"},
		{rule.Problem{File: "f", Line: 1, Column: 9, What: "w", Source: "short"}, "f:1:9: w"},
		{rule.Problem{File: "f", Line: 1, Column: 301, What: "w", Source: strings.Repeat("x", 300) + "y"}, "f:1:301: w\n  | " + strings.Repeat("x", 80) + "y\n  | " + strings.Repeat(" ", 80) + "^"},
	} {
		if got := c.p.Display(); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
	var none rule.Problems
	if none.Err() != nil || none.Error() != "no problems" {
		t.Error("an empty list of problems is an error")
	}
	two := rule.Problems{{What: "a"}, {What: "b"}}
	if got := two.Error(); got != "a (and 1 more)" {
		t.Error(got)
	}
	if p := rule.AsProblems(fmt.Errorf("wrapped: %w", two)); len(p) != 2 || rule.AsProblems(bytes.ErrTooLarge) != nil {
		t.Error("AsProblems does not see through wrapping")
	}
}
