//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/sourcegraph/conc"
)

// TestEvalOnATerminal types on a terminal: completion, history, mistakes, and the end.
func TestEvalOnATerminal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "order.json")
	if err := os.WriteFile(file, []byte(`{"id": "o-1", "items": [], "item_count": 2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	user, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	var wg conc.WaitGroup
	code := -1
	wg.Go(func() {
		defer terminal.Close()
		code = Run(t.Context(), []string{"eval", "--message", file}, Streams{In: terminal, Out: terminal, Err: terminal})
	})
	shown := make(chan string, 100)
	wg.Go(func() { readAll(user, shown) })
	for _, step := range []struct{ typed, shown string }{
		{"", "ctrl-D ends.\r\n> "},
		{"body.i\t", "body.id  body.item_count  body.items"}, // what is possible
		{"d\r", "\"o-1\"\r\n> "},                             // and the value
		{"upp\tbody.id)\r", "\"O-1\"\r\n> "},                 // a function
		{"msg.rout\t\r", "\"\"\r\n> "},                       // a property
		{"boddy.id\r", "Did you mean \"body\"?\r\n> "},       // a mistake
		{"\x1b[A\x1b[A\x1b[A\r", "\"O-1\"\r\n> "},            // three lines back
	} {
		if _, err := user.WriteString(step.typed); err != nil {
			t.Fatal(err)
		}
		awaitText(t, shown, step.shown)
	}
	if _, err := user.WriteString("\x04"); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if code != 0 {
		t.Errorf("it exited with %d", code)
	}
}

// awaitText reads what a terminal shows until a text is among it.
func awaitText(t *testing.T, shown <-chan string, want string) {
	t.Helper()
	for seen := ""; !strings.Contains(seen, want); {
		select {
		case text := <-shown:
			seen += text
		case <-time.After(2 * time.Minute):
			t.Fatalf("%q, where %q is to come", seen, want)
		}
	}
}

// readAll passes on what a terminal shows until it is closed.
func readAll(from *os.File, shown chan<- string) {
	buffer := make([]byte, 1024)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		shown <- string(buffer[:n])
	}
}
