package telemetry

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNamesAreInOneFile: a name of a metric or of an attribute is written in names.go alone, and the conventions have one version.
func TestNamesAreInOneFile(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	name := regexp.MustCompile(`"(pipe|messaging|server|error)\.[a-z_.]+"`)
	conventions := regexp.MustCompile(`semconv/v[0-9.]+`)
	versions := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range conventions.FindAllString(string(text), -1) {
			versions[v] = true
		}
		if file != "names.go" && !strings.HasSuffix(file, "_test.go") && name.Match(text) {
			t.Errorf("%s: %s", file, name.Find(text))
		}
	}
	if len(versions) != 1 {
		t.Errorf("the versions of the conventions are %v", versions)
	}
}
