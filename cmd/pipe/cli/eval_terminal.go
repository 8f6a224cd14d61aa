package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/pipeamqp/pipe/expr"
)

// talk evaluates what is typed on a terminal until its user has had enough.
func (e *evaluator) talk(in *os.File) (err error) {
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("prepare the terminal: %w", err)
	}
	defer func() { err = errors.Join(err, term.Restore(int(in.Fd()), state)) }()
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, e.Out}, "> ")
	if width, height, err := term.GetSize(int(in.Fd())); err == nil && width > 0 {
		_ = t.SetSize(width, height) // too small a terminal is used as it is
	}
	t.AutoCompleteCallback = e.completeIn(t)
	shown := *e.app // what is shown goes through the terminal, which knows where lines end
	shown.Out, shown.Err = t, t
	e.app = &shown
	fmt.Fprintf(t, "The message is msg, its body is body: %s\nTab completes, ctrl-D ends.\n", e.message.Body)
	for {
		line, err := t.ReadLine()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, term.ErrPasteIndicator):
			return fmt.Errorf("read from the terminal: %w", err)
		case strings.TrimSpace(line) == "":
			continue
		}
		_ = e.once(line) // it has been shown
	}
}

// completeIn completes what is before the cursor when the tabulator is pressed. Where several things
// are possible it writes them all.
func (e *evaluator) completeIn(t io.Writer) func(line string, pos int, key rune) (string, int, bool) {
	return func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		word, options := e.complete(line[:pos])
		if len(options) == 0 {
			return line, pos, true
		}
		common := commonPrefix(options)
		if common == word && len(options) > 1 {
			fmt.Fprintln(t, strings.Join(options, "  "))
		}
		before := line[:pos-len(word)]
		return before + common + line[pos:], len(before) + len(common), true
	}
}

// complete returns the word at the end of a text, and everything that it can become.
func (e *evaluator) complete(text string) (word string, options []string) {
	word = text[1+strings.LastIndexFunc(text, func(r rune) bool { return !isWordRune(r) }):]
	for _, candidate := range e.candidates(word) {
		if strings.HasPrefix(candidate, word) {
			options = append(options, candidate)
		}
	}
	slices.Sort(options)
	return word, options
}

func isWordRune(r rune) bool {
	return r == '_' || r == '-' || r == '.' || r == '[' || r == ']' || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z'
}

// candidates lists what words like this one can become.
func (e *evaluator) candidates(word string) []string {
	list := append([]string{"body", "msg", "true", "false", "null"}, expr.Attributes()...)
	for _, f := range expr.Functions() {
		list = append(list, f.Name+"(")
	}
	if i := strings.LastIndexByte(word, '.'); i >= 0 {
		for _, key := range e.keys(word[:i]) {
			list = append(list, word[:i+1]+key)
		}
	}
	return list
}

// keys lists the keys of the object that a path leads to, as far as they can follow a dot.
func (e *evaluator) keys(path string) []string {
	v, err := expr.ParseValue(`[for k in keys(` + path + `) : k if matches("^[A-Za-z_][A-Za-z0-9_-]*$", k)]`)
	if err != nil {
		return nil
	}
	out, err := v.AppendJSON(nil, e.message)
	var keys []string
	if err != nil || json.Unmarshal(out, &keys) != nil {
		return nil
	}
	return keys
}

func commonPrefix(words []string) string {
	prefix := words[0]
	for _, w := range words[1:] {
		for !strings.HasPrefix(w, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return prefix
}
