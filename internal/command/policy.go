package command

import (
	"tincan/internal/command/ownership"
	"tincan/internal/report"
)

// CheckedPolicy is a draft in the form of a report.
func CheckedPolicy(d ownership.Draft) report.PolicyCheck {
	r := report.PolicyCheck{OK: true, Errors: []report.PolicyError{}, Tests: []report.PolicyTest{}, Warnings: []report.PolicyWarning{}}
	if err := d.Err(); err != nil {
		r.OK, r.Problem = false, err.Error()
	}
	if d.Policy != nil {
		r.Rules = len(d.Policy.Rules)
	}
	for _, e := range d.Errors {
		r.Errors = append(r.Errors, report.PolicyError{Line: e.Line, Column: e.Column, Problem: e.Problem})
	}
	for _, t := range d.Results {
		r.Tests = append(r.Tests, report.PolicyTest{Line: t.Test.Line, From: t.Test.From, To: t.Test.To.String(), Expected: t.Test.Expected(), Passed: t.Passed, Text: t.Decision()})
	}
	for _, w := range d.Warnings {
		r.Warnings = append(r.Warnings, report.PolicyWarning(w))
	}
	return r
}
