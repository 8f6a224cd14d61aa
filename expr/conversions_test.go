package expr

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
)

// TestTableOfConversions holds the table of the documentation to being true, row by row.
func TestTableOfConversions(t *testing.T) {
	page, err := os.ReadFile("../docs/expressions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| type | example |")
	if !found {
		t.Fatal("the documentation has no table of conversions")
	}
	rows := 0
	kinds := map[string]bool{}
	for _, line := range strings.Split(table, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		rows++
		example := strings.Trim(cells[1], "`")
		for i, got := range conversions(example) {
			want := strings.Trim(cells[2+i], "`")
			if got != want {
				t.Errorf("%s: column %d is %s, not %s", example, 3+i, want, got)
			}
		}
		kinds[outcome("type("+example+")", engine.NewMessage(nil, nil))] = true
	}
	if rows < 16 || len(kinds) != 8 {
		t.Errorf("the table has %d rows about %v", rows, kinds)
	}
}

// headerNames are the types of an AMQP table, as the specification calls them.
var headerNames = map[string]string{
	"<nil>": "void", "bool": "bool", "int64": "long-long-int", "float64": "double", "string": "long-string",
	"[]uint8": "byte-array", "time.Time": "timestamp", "[]interface {}": "array", "map[string]interface {}": "table",
}

// conversions is what a value becomes: text, a number, a condition, JSON and a header.
func conversions(source string) []string {
	// What is known at start would be refused at once: a message makes it wait.
	source = "[" + source + ", msg.body][0]"
	m := engine.NewMessage(nil, nil)
	result := func(v any, err error) string {
		if err != nil {
			return "error"
		}
		return fmt.Sprint(v)
	}
	header, err := must(ParseValue(source)).Eval(m)
	return []string{
		result(must(ParseString(source)).Eval(m)),
		orError(outcome("("+source+") + 0", m)),
		result(must(ParseBool(source)).Eval(m)),
		outcome(source, m),
		headerNames[result(fmt.Sprintf("%T", header), err)],
	}
}

func orError(outcome string) string {
	if strings.HasPrefix(outcome, "error: ") {
		return "error"
	}
	return outcome
}
