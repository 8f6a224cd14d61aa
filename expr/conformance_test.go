package expr

import (
	"encoding/json"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/engine"
)

// TestConformance runs testdata/*.txtar, which read as the language's specification: a message, and
// lines "EXPRESSION => VALUE AS JSON", "=> error: TEXT" for an error at run time, "=> refused: TEXT"
// for a diagnostic when compiling. TEXT is a part of the message.
func TestConformance(t *testing.T) {
	cases := 0
	for _, name := range conformanceFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			sections := conformanceSections(t, name)
			for c := range conformanceCases(t, sections) {
				cases++
				t.Run(c.source, func(t *testing.T) {
					if got := outcome(c.source, conformanceMessage(t, sections)); !agrees(got, c.want) {
						t.Errorf("%s\n got %s\nwant %s", c.source, got, c.want)
					}
				})
			}
		})
	}
	if cases < 400 {
		t.Errorf("only %d cases", cases)
	}
}

type conformanceCase struct{ source, want string }

func conformanceCases(t testing.TB, sections map[string]string) iter.Seq[conformanceCase] {
	return func(yield func(conformanceCase) bool) {
		for line := range strings.Lines(sections["cases"]) {
			i := strings.LastIndex(line, " => ")
			if i < 0 {
				t.Fatalf("not a case: %q", line)
			}
			if !yield(conformanceCase{strings.TrimSpace(line[:i]), strings.TrimSpace(line[i+4:])}) {
				return
			}
		}
	}
}

func agrees(got, want string) bool {
	for _, class := range []string{"error: ", "refused: "} {
		if part, ok := strings.CutPrefix(want, class); ok {
			return strings.HasPrefix(got, class) && strings.Contains(got, part)
		}
	}
	return got == want
}

func conformanceMessage(t *testing.T, sections map[string]string) *engine.Message {
	t.Helper()
	headers := map[string]any{}
	if h := sections["headers"]; h != "" {
		if err := json.Unmarshal([]byte(h), &headers); err != nil {
			t.Fatal(err)
		}
	}
	m := engine.NewMessage([]byte(strings.TrimSpace(sections["body"])), headers)
	m.Exchange, m.RoutingKey, m.Redelivered, m.DeliveryCount = "orders", "order.eu", true, 2
	m.Properties.MessageID = "m-1"
	m.Properties.Timestamp = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return m
}

// outcome is what becomes of an expression, as the conformance files write it.
func outcome(source string, m *engine.Message) string {
	v, err := ParseValue(source)
	if err != nil {
		return "refused: " + err.Error()
	}
	out, err := v.AppendJSON(nil, m)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(out)
}
