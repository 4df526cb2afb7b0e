package rule

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// A phrase is a condition that many rules say, by a name: name() stands for its words, and costs what they do.
type phrase struct{ name, doc, words string }

// phrases are what rules may say, each in the words of those before it.
var phrases = []phrase{{
	"takes_file", "orders leave in a file: they are exported, listed for export, or downloaded",
	`event.operation in ["export", "export_list", "download"]`,
}, {
	"sees_orders", "a person was shown orders, on a screen or paper, with at least half of what tells who gets them, and neither changed, sent nor took them out",
	`event.actor_kind == "user" && event.outcome == "success" && event.touched >= 1 && event.weight >= 0.5
		&& !(event.operation in ["export", "export_list", "download", "send", "modify", "delete"])`,
}, {
	"prints_orders", "a person saw orders so by printing them",
	`sees_orders() && event.operation in ["print", "print_list"]`,
}, {
	"reads_orders", "a person saw orders so on a screen",
	`sees_orders() && !(event.operation in ["print", "print_list"])`,
}, {
	"opens_orders", "a person read one order or two, which this very event neither searched for nor listed",
	`reads_orders() && event.touched <= 2 && !(event.operation in ["search", "view_list"])`,
}, {
	"by_program", "no person did it, as far as the event tells",
	`event.actor == "" || event.actor_kind != "user"`,
}}

// phrased returns env with the phrases.
func phrased(env *cel.Env) (*cel.Env, error) {
	for _, p := range phrases {
		said, iss := env.Parse(p.words)
		if iss.Err() != nil {
			return nil, fmt.Errorf("phrase %s: %w", p.name, iss.Err())
		}
		words := said.NativeRep().Expr()
		var err error
		if env, err = env.Extend(cel.Macros(cel.GlobalMacro(p.name, 0, func(f cel.MacroExprFactory, _ ast.Expr, _ []ast.Expr) (ast.Expr, *cel.Error) {
			return f.Copy(words), nil
		}))); err != nil {
			return nil, fmt.Errorf("phrase %s: %w", p.name, err)
		}
	}
	return env, nil
}

func phraseNames() (names []string) {
	for _, p := range phrases {
		names = append(names, p.name)
	}
	return names
}
