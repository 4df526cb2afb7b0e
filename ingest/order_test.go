package ingest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestOrder names files in the order of a shell; they are loaded in the order of time.
func TestOrder(t *testing.T) {
	write := func(dir, name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	line := func(day int) string {
		return fmt.Sprintf("1.2.3.4 - - [%02d/Mar/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"curl\"\n", day)
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"rotated", map[string]string{"a.log": line(9), "a.log.1": line(8), "a.log.10": line(1), "a.log.2": line(7)}, "1 7 8 9"},
		{"compressed", map[string]string{"b": string(gzipped([]byte(line(3)))), "a": line(4)}, "3 4"},
		{"long", map[string]string{"b": string(gzipped(slices.Repeat([]byte(line(3)), 5000))), "a": line(4)}, "3 4"},
		{"one without a time stays where it was named", map[string]string{"a": line(4), "b": "", "c": line(3)}, "4 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var files []string
			for name, text := range c.files {
				files = append(files, write(dir, name, text))
			}
			slices.Sort(files)
			m := newMemory(1)
			l := testLoader(m)
			l.Format = "access"
			if _, err := l.Load(t.Context(), files...); err != nil {
				t.Fatal(err)
			}
			got, last := "", ""
			for _, e := range m.events(t) {
				if day := fmt.Sprint(e.Time.Std().Day()); day != last {
					got, last = got+" "+day, day
				}
			}
			if got != " "+c.want {
				t.Errorf("days%s, want %s", got, c.want)
			}
		})
	}
}
