package main

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

const manualPath = root + "/docs/reference/cli.md"

// TestManual keeps the reference page equal to the command line; -update rewrites it.
func TestManual(t *testing.T) {
	var cli commands
	parser, err := kong.New(&cli, kong.Name("moat"))
	if err != nil {
		t.Fatal(err)
	}
	got := reference(parser.Model)
	if *update {
		if err := os.WriteFile(manualPath, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(manualPath)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is stale: run go test ./cmd/moat -run TestManual -update", manualPath)
	}
}

// reference is the whole page.
func reference(m *kong.Application) string {
	var b strings.Builder
	b.WriteString(`# The command line

<!-- Written by go test ./cmd/moat -run TestManual -update; do not edit. -->

` + "`moat COMMAND --help`" + ` says the same. Answers go to stdout, progress, warnings and logs to stderr. With ` + "`--json`" + ` every command that shows something prints one JSON
object a line. Times are given as ` + "`2026-03-02`, `2026-03-02T09:00:00Z`" + `, or as a while ago: ` + "`90m`, `24h`, `7d`" + `.

| exit code | means |
| --- | --- |
| 0 | it was done |
| 1 | it could not be done; stderr says why and what to do |
| 2 | the command line is not understood |
| 3 | what was to be checked is not in order |
| 130 | it was stopped |

## Every command

`)
	flags(&b, m.Flags)
	b.WriteString("\n| command | what it does |\n| --- | --- |\n")
	leaves := m.Leaves(true)
	for _, n := range leaves {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", n.FullPath(), strings.ReplaceAll(n.FullPath(), " ", "-"), cellOf(n.Help))
	}
	for _, n := range leaves {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```\n%s\n```\n", n.FullPath(), n.Help, "moat "+strings.TrimPrefix(n.Summary(), "moat "))
		if n.Detail != "" {
			fmt.Fprintf(&b, "\n%s\n", detail(n.Detail))
		}
		if len(n.Positional) > 0 {
			b.WriteString("\n| argument | meaning |\n| --- | --- |\n")
			for _, p := range n.Positional {
				fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(p.Summary(), "|", `\|`), cellOf(p.Help))
			}
		}
		if own := visible(n.Flags); len(own) > 0 {
			b.WriteString("\n")
			flags(&b, own)
		}
	}
	return b.String()
}

// visible drops hidden flags and that for help, which all commands have.
func visible(list []*kong.Flag) (out []*kong.Flag) {
	for _, f := range list {
		if !f.Hidden && f.Name != "help" {
			out = append(out, f)
		}
	}
	return out
}

func flags(b *strings.Builder, list []*kong.Flag) {
	b.WriteString("| flag | environment | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, f := range visible(list) {
		name := "`--" + f.Name
		if f.Short != 0 {
			name = "`-" + string(f.Short) + "`, " + name
		}
		if !f.IsBool() {
			name += "=" + strings.Trim(f.FormatPlaceHolder(), `"`)
		}
		env, value, help := "", "", f.Help
		if len(f.Envs) > 0 {
			env = "`" + strings.Join(f.Envs, "` `") + "`"
		}
		if f.HasDefault {
			value = f.Default
		}
		// Help says in brackets what has columns of its own here.
		if m := inBrackets.FindStringSubmatch(help); m != nil && (m[1] != "" || m[2] == value) {
			help, value = strings.Replace(help, m[0], "", 1), cmp.Or(value, m[2])
		}
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(b, "| %s` | %s | %s | %s |\n", name, env, value, cellOf(help))
	}
}

var inBrackets = regexp.MustCompile(` \((MOAT_[A-Z_]+)?(?:; )?([^()]*)\)`)

func cellOf(s string) string {
	return strings.TrimSuffix(strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`), ".")
}

// detail puts the examples, which are indented, between fences.
func detail(s string) string {
	text, code := []string{}, []string{}
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\n")
		if rest, ok := strings.CutPrefix(line, "    "); ok {
			code = append(code, rest)
		} else if line != "" {
			text = append(text, line)
		}
	}
	out := strings.Join(text, "\n\n")
	if len(code) > 0 {
		out += "\n\n```console\n$ " + strings.Join(code, "\n$ ") + "\n```"
	}
	return out
}
