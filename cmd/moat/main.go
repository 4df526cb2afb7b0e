// Command moat runs and asks a Moat: one program for the server, for loading logs, for reading
// what was found and decided, for checking and trying detectors.
//
// Use `moat --help`, and `moat COMMAND --help` for examples. Each sub-command is a type in a file of
// its own, named after it, and a line in commands.
//
// It will not hold any logic of the product: that is in the packages that it calls.
package main

import "os"

// commands is the command line.
type commands struct {
	globals

	Demo        demoCmd        `cmd:"" group:"Try" help:"Show Moat at work on a small ecosystem with thieves in it."`
	Drill       drillCmd       `cmd:"" group:"Try" help:"Measure what is found of thefts in a simulated ecosystem."`
	Sim         simCmd         `cmd:"" group:"Try" help:"Write the events of a simulated ecosystem, with the truth about its thieves."`
	Bench       benchCmd       `cmd:"" group:"Try" help:"Measure how fast Moat is on this machine."`
	BenchClient benchClientCmd `cmd:"" group:"Try" hidden:""`

	Serve     serveCmd     `cmd:"" group:"Run" help:"Run a node: take events in over HTTP, find, decide, answer."`
	Ingest    ingestCmd    `cmd:"" group:"Run" help:"Load logs or events from files and judge them."`
	Canary    canaryCmd    `cmd:"" group:"Run" help:"Plant orders, phones, addresses and credentials that belong to nobody."`
	Complaint complaintCmd `cmd:"" group:"Run" help:"File complaints of customers, and dumps of leaked orders."`

	Findings   findingsCmd   `cmd:"" group:"Look" help:"Show what detectors saw."`
	Cases      casesCmd      `cmd:"" group:"Look" help:"Show cases, their stories, and work on them."`
	Snooze     snoozeCmd     `cmd:"" group:"Look" help:"Keep what is found about somebody from opening cases, for a while."`
	Decisions  decisionsCmd  `cmd:"" group:"Look" help:"Show what is done to whom, and undo it."`
	Orders     ordersCmd     `cmd:"" group:"Look" help:"Tell who touched orders."`
	Complaints complaintsCmd `cmd:"" group:"Look" help:"Show which orders customers complained about."`
	Trace      traceCmd      `cmd:"" group:"Look" help:"Tell from leaked orders where they leaked."`
	Entity     entityCmd     `cmd:"" group:"Look" help:"Tell what an account, address, device … did."`
	Scope      scopeCmd      `cmd:"" group:"Look" help:"Tell how far a leak reaches: which orders and people, and where they went."`
	Ledger     ledgerCmd     `cmd:"" group:"Look" help:"Tell how much the index of orders and entities holds, and in how many bytes."`
	Query      queryCmd      `cmd:"" group:"Look" help:"Ask SQL of the events."`

	Detectors  detectorsCmd  `cmd:"" group:"Rules" help:"List the detectors and what verdicts say of them, or explain one."`
	Check      checkCmd      `cmd:"" group:"Rules" help:"Check detector files and run their tests."`
	Replay     replayCmd     `cmd:"" group:"Rules" help:"Try detectors on past events."`
	Indicators indicatorsCmd `cmd:"" group:"Rules" help:"Show what is known of addresses."`

	Partner partnerCmd `cmd:"" group:"Manage" help:"Add and list partners."`
	Key     keyCmd     `cmd:"" group:"Manage" help:"Create, list and revoke API keys."`
	Audit   auditCmd   `cmd:"" group:"Manage" help:"Show or verify the audit trail."`
	Version versionCmd `cmd:"" group:"Manage" help:"Say which Moat this is."`
}

func main() { os.Exit(run(os.Args[1:])) }
