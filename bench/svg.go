package main

import (
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// What the drawing is made of, in pixels.
const (
	svgWidth   = 760
	svgLabels  = 190 // left of the bars
	svgNumbers = 90  // right of them
	svgBar     = 16
	svgGap     = 5
	svgGroup   = 46 // between the bars of two experiments
	svgHead    = 64
)

// draw draws the CPU time a message of every experiment that has it, as bars beside each other.
func (r *report) draw(w io.Writer) error {
	tables := slices.DeleteFunc(slices.Clone(r.Tables), func(t *table) bool {
		return !slices.Contains(t.Columns, cpuColumn) || !slices.Contains(t.Contenders, theLoop) || !slices.Contains(t.Columns, rateColumn)
	})
	var b strings.Builder
	y := svgHead
	for _, t := range tables {
		y = t.draw(&b, y) + svgGroup
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="16" y="26" font-size="16" font-weight="600" fill="#1f2328">CPU time a message, in microseconds: less is better</text>
<text x="16" y="44" fill="#656d76">%s</text>
%s</svg>
`, svgWidth, y, svgWidth, y, html.EscapeString(r.about()), b.String())
	return err
}

// draw draws one experiment from y on, and returns where it ends. The tutorial loop is left out: beside its bar the others could not be told
// from each other.
func (t *table) draw(b *strings.Builder, y int) int {
	contenders := slices.DeleteFunc(slices.Clone(t.Contenders), func(c string) bool { return c == theTutorial })
	fmt.Fprintf(b, `<text x="16" y="%d" font-weight="600" fill="#1f2328">%s</text><text x="%d" y="%d" text-anchor="end" fill="#656d76">%s queues</text>`+"\n",
		y+14, html.EscapeString(t.Name), svgWidth-16, y+14, html.EscapeString(t.Queue))
	y += 24
	most := 0.0
	for _, c := range contenders {
		most = max(most, t.Cells[c][cpuColumn].Median)
	}
	for _, c := range contenders {
		s := t.Cells[c][cpuColumn]
		width := max(2, int(s.Median/most*float64(svgWidth-svgLabels-svgNumbers-16)))
		colour := "#afb8c1"
		if strings.HasPrefix(c, thePipe) {
			colour = "#0969da"
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end" fill="#1f2328">%s</text><rect x="%d" y="%d" width="%d" height="%d" rx="2" fill="%s"/><text x="%d" y="%d" fill="#1f2328">%s <tspan fill="#656d76">(%.2f×)</tspan></text>`+"\n",
			svgLabels-8, y+12, html.EscapeString(c), svgLabels, y, width, svgBar, colour, svgLabels+width+8, y+12, number(s.Median), s.Ratio)
		y += svgBar + svgGap
	}
	return y - svgGroup + svgGroup/2
}
