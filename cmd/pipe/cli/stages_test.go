package cli

import (
	"bytes"
	"os"
	"testing"
)

// TestReference expects that the page in docs is that of this version.
func TestReference(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := Run(t.Context(), []string{"stages", "--markdown"}, Streams{Out: &out, Err: &out}); code != 0 {
		t.Fatal(code)
	}
	if !bytes.Equal(page, out.Bytes()) {
		t.Error("docs/reference.md is not what the components say: make generate")
	}
}
