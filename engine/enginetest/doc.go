// Package enginetest holds the contracts of package engine as tests: for a stage, a source and a sink of
// one's own, and a source and a sink in memory to run them with.
//
// The author of a stage calls one function:
//
//	func TestConformance(t *testing.T) {
//		newStage := func() engine.Stage { return mystage.New() }
//		enginetest.TestStage(t, newStage, engine.NewMessage([]byte(`{"id": 1}`), nil))
//	}
//
// Run such tests with -race, and not in parallel with others: they look for goroutines that are left behind.
package enginetest
