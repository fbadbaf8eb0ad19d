package control

// What the tests of package control_test need, which also look at package report.

type ClientVectors = clientVectors

var (
	LoadVectors = loadVectors
	ReadLine    = readLine
)
