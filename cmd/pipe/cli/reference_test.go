package cli

import (
	"bytes"
	"os"
	"testing"
)

// TestReference expects that the pages in docs are those of this version.
func TestReference(t *testing.T) {
	for page, command := range map[string]string{"reference.md": "stages", "functions.md": "functions"} {
		text, err := os.ReadFile("../../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if code := Run(t.Context(), []string{command, "--markdown"}, Streams{Out: &out, Err: &out}); code != 0 {
			t.Fatal(code)
		}
		if !bytes.Equal(text, out.Bytes()) {
			t.Errorf("docs/%s is not what pipe %s says: make generate", page, command)
		}
	}
}
