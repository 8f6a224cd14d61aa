package config

import (
	"io"

	"github.com/pipeamqp/pipe/engine"
)

// Doc is the reference of a component, or of a block inside it.
type Doc struct {
	Role    engine.Role // "" for a block inside a component
	Kind    string      // the block's type for a block inside a component
	Doc     string
	Many    bool // a block that may be there more than once
	Needed  bool // a block that must be there
	Labels  []string
	Args    []Argument
	Blocks  []Doc
	Generic []Argument // those that every component of this role takes
}

// Argument is one argument of a block.
type Argument struct {
	Name       string
	Type       string // for people, as "string" or "list of references to a sink or branch"
	Required   bool
	Default    string // as it would be written; "" for none
	Enum       []string
	PerMessage bool // evaluated for every message
	Doc        string
}

// Describe makes the reference of a component from the struct that its constructor takes.
func Describe(c *engine.Component) Doc { return Doc{} }

// WriteText writes the reference for a terminal. width is the columns to use, 0 for 80.
func (d Doc) WriteText(w io.Writer, width int) error { return nil }

// WriteMarkdown writes the reference as a page.
func (d Doc) WriteMarkdown(w io.Writer) error { return nil }
