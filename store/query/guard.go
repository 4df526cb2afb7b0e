package query

import (
	"encoding/json"
	"slices"
	"strings"
)

// A statement is judged by the tree that DuckDB's own parser makes of it, written as
// JSON. What is not known to be harmless is refused.

// harmlessTables are the table functions that read nothing.
var harmlessTables = []string{"unnest", "range", "generate_series", "json_each", "json_tree"}

// tellingFunctions tell of the engine, its settings or its other users, wait, or write its log.
var tellingFunctions = []string{"write_log", "current_setting", "getvariable", "getenv", "current_query", "current_connection_id",
	"current_query_id", "sleep", "nextval", "currval", "parse_duckdb_log_message"}

// judge returns why the parsed statement may not be asked, or nil.
func judge(tree []byte) error {
	var parsed struct {
		Error      bool              `json:"error"`
		Message    string            `json:"error_message"`
		Statements []json.RawMessage `json:"statements"`
	}
	if err := json.Unmarshal(tree, &parsed); err != nil {
		return refuse("it has no readable tree: %v", err)
	}
	if parsed.Error {
		if strings.Contains(parsed.Message, "Only SELECT") {
			return refuse("only SELECT may be asked")
		}
		return refuse("%s", parsed.Message)
	}
	if len(parsed.Statements) != 1 {
		return refuse("%d statements, want one", len(parsed.Statements))
	}
	var root any
	if err := json.Unmarshal(parsed.Statements[0], &root); err != nil {
		return refuse("it has no readable tree: %v", err)
	}
	j := judgement{names: []string{"events"}}
	if err := j.collect(root); err != nil {
		return err
	}
	return j.walk(root)
}

type judgement struct {
	names []string // tables that may be read: events and the statement's own
}

// collect finds the names that the statement gives to its own subqueries.
func (j *judgement) collect(n any) error {
	switch n := n.(type) {
	case []any:
		for _, v := range n {
			if err := j.collect(v); err != nil {
				return err
			}
		}
	case map[string]any:
		if m, ok := n["cte_map"].(map[string]any); ok {
			entries, _ := m["map"].([]any)
			for _, e := range entries {
				entry, _ := e.(map[string]any)
				name := text(entry, "key")
				if !plainName(name) {
					return refuse("a subquery may not be called %.40q", name)
				}
				j.names = append(j.names, strings.ToLower(name))
			}
		}
		// A CTE_NODE names its query itself.
		if name := text(n, "cte_name") + text(n, "ctename"); name != "" {
			if !plainName(name) {
				return refuse("a subquery may not be called %.40q", name)
			}
			j.names = append(j.names, strings.ToLower(name))
		}
		for _, v := range n {
			if err := j.collect(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// plainName tells that s, used out of its scope, cannot be a file or a table of the
// engine's own.
func plainName(s string) bool {
	for i, c := range s {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	s = strings.ToLower(s)
	return s != "" && !slices.ContainsFunc([]string{"duckdb_", "pragma_", "sqlite_", "pg_", "information_schema"}, func(p string) bool {
		return strings.HasPrefix(s, p)
	})
}

func text(n map[string]any, key string) string {
	s, _ := n[key].(string)
	return s
}

func (j *judgement) walk(n any) error {
	switch n := n.(type) {
	case []any:
		for _, v := range n {
			if err := j.walk(v); err != nil {
				return err
			}
		}
	case map[string]any:
		if err := j.node(n); err != nil {
			return err
		}
		for _, v := range n {
			if err := j.walk(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// node judges one node of the tree.
func (j *judgement) node(n map[string]any) error {
	kind := text(n, "type")
	_, isQuery := n["cte_map"]
	_, isSource := n["sample"]
	switch {
	case isQuery:
		if !slices.Contains([]string{"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}, kind) {
			return refuse("%s is not known", kind)
		}
	case isSource:
		return j.source(kind, n)
	}
	if name := strings.ToLower(text(n, "function_name")); name != "" {
		if slices.Contains(tellingFunctions, name) || strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "duckdb_") ||
			text(n, "catalog") != "" || text(n, "schema") != "" && text(n, "schema") != "main" {
			return refuse("function %.40q may not be called", name)
		}
	}
	return nil
}

// source judges what a query reads from.
func (j *judgement) source(kind string, n map[string]any) error {
	switch kind {
	case "EMPTY", "JOIN", "SUBQUERY", "EXPRESSION_LIST", "PIVOT":
		return nil
	case "BASE_TABLE":
		name := text(n, "table_name")
		if text(n, "catalog_name") != "" || text(n, "schema_name") != "" || !slices.Contains(j.names, strings.ToLower(name)) {
			return refuse("there is no table %.80q; the table is events", name)
		}
		return nil
	case "TABLE_FUNCTION":
		f, _ := n["function"].(map[string]any)
		if name := text(f, "function_name"); !slices.Contains(harmlessTables, strings.ToLower(name)) {
			return refuse("function %.40q may not be read from", name)
		}
		return nil
	case "SHOW_REF":
		// DESCRIBE and SUMMARIZE of a query, which is walked as any other.
		if n["query"] != nil && text(n, "table_name") == "" {
			return nil
		}
	}
	return refuse("%s may not be read from", strings.ToLower(kind))
}
