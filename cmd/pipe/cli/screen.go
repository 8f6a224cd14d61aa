package cli

import (
	"bytes"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// screen shares a terminal between lines that scroll and one line at its bottom that stays. It may
// be used from many goroutines.
type screen struct {
	out   io.Writer
	width func() int

	mu     sync.Mutex
	bottom string
}

const eraseLine = "\r\x1b[K"

// Write writes whole lines above the bottom line.
func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bottom == "" {
		return s.out.Write(lines)
	}
	var b bytes.Buffer
	b.WriteString(eraseLine)
	b.Write(lines)
	b.WriteString(s.bottom)
	if _, err := s.out.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// setBottom replaces the bottom line; an empty one removes it. What does not fit is cut.
func (s *screen) setBottom(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line = cut(line, s.width()-1)
	if line == "" && s.bottom == "" {
		return
	}
	s.bottom = line
	_, _ = io.WriteString(s.out, eraseLine+line)
}

// cut shortens a line of plain text to a number of columns.
func cut(line string, columns int) string {
	runes := []rune(line)
	if columns < 1 {
		return ""
	}
	if len(runes) <= columns {
		return line
	}
	return string(runes[:columns-1]) + "…"
}

// terminal returns the file behind w if that is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// columns returns how wide a terminal is at present.
func columns(f *os.File) int {
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return width
	}
	return 80
}

// colourful reports whether w is a terminal whose user wants colours (https://no-color.org).
func colourful(w io.Writer) bool {
	_, ok := terminal(w)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// Styles of text on a terminal (ECMA-48 SGR).
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
	purple = "35"
	cyan   = "36"
)

// paint gives text a style where colour is wanted.
func paint(colour bool, style, text string) string {
	if !colour || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// cutMiddle shortens a text to so many columns, and keeps its beginning and its end.
func cutMiddle(text string, columns int) string {
	runes := []rune(text)
	if len(runes) <= columns || columns <= 1 {
		return cut(text, columns)
	}
	end := (columns - 1) * 2 / 5
	return string(runes[:columns-1-end]) + "…" + string(runes[len(runes)-end:])
}
