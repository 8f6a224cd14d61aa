package expr

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"iter"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// corpus yields the inputs that fuzzing has found to lead somewhere new, as strings: `make corpus` keeps them. go test -short leaves them out.
func corpus(f *testing.F, target string) iter.Seq[[]string] {
	f.Helper()
	return func(yield func([]string) bool) {
		if testing.Short() {
			return
		}
		file, err := os.Open("testdata/corpus.tar.gz")
		if err != nil {
			f.Fatal(err)
		}
		defer file.Close()
		unzipped, err := gzip.NewReader(file)
		if err != nil {
			f.Fatal(err)
		}
		found := false
		for inputs := tar.NewReader(unzipped); ; {
			head, err := inputs.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				f.Fatal(err)
			}
			if head.Typeflag != tar.TypeReg || path.Dir(head.Name) != target {
				continue
			}
			text, err := io.ReadAll(inputs)
			if err != nil {
				f.Fatal(err)
			}
			found = true
			if !yield(fuzzInput(f, head.Name, string(text))) {
				return
			}
		}
		if !found {
			f.Errorf("the corpus has nothing for %s", target)
		}
	}
}

// fuzzInput reads an input as `go test -fuzz` writes it: a line for each argument, as string("…") or []byte("…").
func fuzzInput(f *testing.F, name, text string) (args []string) {
	f.Helper()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines[1:] {
		_, quoted, _ := strings.Cut(line, "(")
		arg, err := strconv.Unquote(strings.TrimSuffix(quoted, ")"))
		if err != nil {
			f.Fatalf("%s: %s: %v", name, line, err)
		}
		args = append(args, arg)
	}
	return args
}
