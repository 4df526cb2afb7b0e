package main

import (
	"errors"
	"runtime"
	"runtime/debug"

	"github.com/moat-platform/moat/store/query"
)

// versionCmd says which Moat this is.
type versionCmd struct{}

// Run says it.
func (versionCmd) Run(a *app) error {
	_, err := query.Open(a.path("lake"))
	v := struct {
		Version  string `json:"version"`
		Revision string `json:"revision,omitempty"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
		SQL      bool   `json:"sql"` // whether moat query works
	}{version(), revision(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, !errors.Is(err, query.ErrUnavailable)}
	if a.JSON {
		return a.object(v)
	}
	sql := "with SQL"
	if !v.SQL {
		sql = "without SQL"
	}
	a.out.line("moat", v.Version, v.Revision, v.Go, v.Platform, sql)
	return nil
}

// version is that of the module, "devel" if it was built from a working tree.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "devel"
}

// revision is the commit that it was built from, if the build wrote it down.
func revision() string {
	b, _ := debug.ReadBuildInfo()
	if b == nil {
		return ""
	}
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return ""
}
