package expr

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/pipeamqp/pipe/engine"
)

// TestConformance runs testdata/*.txtar, which read as the language's specification: a message, and
// lines "EXPRESSION => VALUE AS JSON", "=> error: TEXT" for an error at run time, "=> refused: TEXT"
// for a diagnostic when compiling. TEXT is a part of the message.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conformance files: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sections := map[string]string{}
			for _, f := range archive.Files {
				sections[f.Name] = string(f.Data)
			}
			for line := range strings.Lines(sections["cases"]) {
				source, want, ok := strings.Cut(strings.TrimSpace(line), " => ")
				if i := strings.LastIndex(line, " => "); ok && i > 0 {
					source, want = strings.TrimSpace(line[:i]), strings.TrimSpace(line[i+4:])
				}
				if !ok {
					t.Fatalf("not a case: %q", line)
				}
				t.Run(source, func(t *testing.T) {
					if got := outcome(source, conformanceMessage(t, sections)); !agrees(got, want) {
						t.Errorf("%s\n got %s\nwant %s", source, got, want)
					}
				})
			}
		})
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
