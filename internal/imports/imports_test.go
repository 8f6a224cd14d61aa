// Package imports guards the direction of the project's imports.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pipeamqp/pipe"

// may lists, for each room, the rooms of the project that it may import; rooms that are not listed may import
// nothing of it. A room is a folder and everything below it. See docs/architecture.md.
var may = map[string][]string{
	"engine":              {},
	"engine/enginetest":   {"engine", "pool", "internal/devbroker", "internal/message"},
	"expr":                {"engine"},
	"pool":                {},
	"sources":             {"engine", "expr", "pool", "internal/message"},
	"sinks":               {"engine", "expr", "pool", "internal/message"},
	"stages":              {"engine", "expr"},
	"config":              {"engine", "expr", "pool", "sources", "sinks", "stages", "telemetry"},
	"telemetry":           {"engine", "pool"},
	"cmd/pipe/cli":        {"config", "engine", "expr", "pool", "sources", "sinks", "stages", "telemetry", "internal/devbroker", "internal/rabbitmq"},
	"cmd/pipe":            {"cmd/pipe/cli"},
	"bench":               {"internal/rabbitmq"},
	"internal/message":    {"engine", "pool"},
	"internal/rabbitmq":   {},
	"internal/testbroker": {"internal/devbroker", "internal/rabbitmq"},
	"internal/pipetest":   {"internal/rabbitmq", "internal/testbroker"},
	"internal/testpool":   {"pool"},
}

// never lists what must not be imported from outside, directly or through something else.
var never = map[string][]string{
	"engine": {"github.com/rabbitmq/amqp091-go", "github.com/hashicorp/hcl/v2", "go.opentelemetry.io/otel"},
	"pool":   {"github.com/hashicorp/hcl/v2"},
}

// siblings are rooms whose folders never import each other.
var siblings = []string{"stages", "sources", "sinks"}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range list(t) {
		path, ok := strings.CutPrefix(p.ImportPath, module+"/")
		if !ok {
			continue
		}
		room := roomOf(path)
		for _, imported := range p.Imports {
			target, ok := strings.CutPrefix(imported, module+"/")
			if !ok || target == path {
				continue
			}
			if to := roomOf(target); to == room && isSibling(room) {
				t.Errorf("%s imports its sibling %s", path, target)
			} else if to != room && !slices.Contains(may[room], to) {
				t.Errorf("%s imports %s: %s may import only %v of the project", path, target, room, may[room])
			}
		}
		for _, forbidden := range never[room] {
			if slices.Contains(p.Deps, forbidden) {
				t.Errorf("%s depends on %s", path, forbidden)
			}
		}
	}
}

// roomOf returns the longest listed room that path lies in, or path itself.
func roomOf(path string) string {
	room := ""
	for r := range may {
		if (path == r || strings.HasPrefix(path, r+"/")) && len(r) > len(room) {
			room = r
		}
	}
	if room == "" {
		return path
	}
	return room
}

func isSibling(room string) bool { return slices.Contains(siblings, room) }

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go list: %v\n%s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
