package expr

import (
	"encoding/json"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
)

// TestJSONSuite reads what must be read, refuses what must be refused, and does with the rest what the
// files say. What is read leaves as it came, a string perhaps with other escapes, and encoding/json agrees
// where it has to.
func TestJSONSuite(t *testing.T) {
	for _, file := range []string{"accept", "reject", "either"} {
		text, err := os.ReadFile("testdata/json/" + file + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			count++
			quoted, outcome, _ := strings.Cut(strings.TrimSpace(line), " => ")
			body, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatal(line, err)
			}
			accepted := file == "accept" || outcome == "kept"
			if file != "either" && json.Valid([]byte(body)) != accepted {
				t.Errorf("%s does not belong into %s", quoted, file)
			}
			checkSuiteCase(t, body, accepted)
		}
		if least := map[string]int{"accept": 70, "reject": 150, "either": 20}[file]; count < least {
			t.Errorf("%s has only %d cases", file, count)
		}
	}
}

func checkSuiteCase(t *testing.T, body string, accepted bool) {
	t.Helper()
	got, err := mustValue(t, `body`).AppendJSON(nil, engine.NewMessage([]byte(body), nil))
	switch {
	case accepted && (err != nil || body[0] != '"' && string(got) != strings.Trim(body, " \t\r\n") || !reflect.DeepEqual(decode(t, string(got)), decode(t, body))):
		t.Errorf("%.100q is %.100q, %v", body, got, err)
	case !accepted && (err == nil || !strings.Contains(err.Error(), "not JSON")):
		t.Errorf("%.100q is not refused: %v", body, err)
	}
	if there, err := MustParseBool(`has(body)`).Eval(engine.NewMessage([]byte(body), nil)); there != accepted || err != nil {
		t.Errorf("has(body) of %.100q: %v, %v", body, there, err)
	}
}
