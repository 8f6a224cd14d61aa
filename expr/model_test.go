package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// writtenJSON is a value and where it is in its text: what encoding/json's tokens tell.
type writtenJSON struct {
	start, end int
	kind       byte // '{', '[', 'n' for null, or 's' for any other scalar
	keys       []string
	rawKeys    []string
	inner      []*writtenJSON
}

// readJSON reads a text that is JSON.
func readJSON(t fataler, text string) *writtenJSON {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	r := &jsonReader{t: t, text: text, d: d}
	return r.value()
}

type jsonReader struct {
	t    fataler
	text string
	d    *json.Decoder
}

// token returns the next token and where it begins.
func (r *jsonReader) token() (json.Token, int) {
	start := int(r.d.InputOffset())
	start += len(r.text[start:]) - len(strings.TrimLeft(r.text[start:], " \t\r\n,:"))
	token, err := r.d.Token()
	if err != nil {
		r.t.Fatal(r.text, err)
	}
	return token, start
}

func (r *jsonReader) value() *writtenJSON {
	token, start := r.token()
	v := &writtenJSON{start: start, kind: 's'}
	switch token {
	case nil:
		v.kind = 'n'
	case json.Delim('{'), json.Delim('['):
		v.kind = r.text[start]
		for r.d.More() {
			if v.kind == '{' {
				key, at := r.token()
				v.keys = append(v.keys, key.(string))
				v.rawKeys = append(v.rawKeys, r.text[at:r.d.InputOffset()])
			}
			v.inner = append(v.inner, r.value())
		}
		r.token()
	}
	v.end = int(r.d.InputOffset())
	return v
}

// modelEdit is an assignment, as what is left of its path at a place, and the JSON that it writes.
type modelEdit struct {
	path []string
	json string
}

// model is what an edit means, done on what encoding/json reads.
type model struct {
	t              fataler
	text           string
	added, removed bool
	spliced        []modelSplice // what takes the place of which part of the text
}

type modelSplice struct {
	start, end int
	json       string
}

var errImpossible = errors.New("impossible")

// edited is a value after the edit: its text where that may not have changed in any byte, or what is
// in it.
type edited struct {
	text    string
	given   bool // the text is what was assigned
	kind    byte
	rawKeys []string
	inner   []*edited
}

// below returns the edits that go on through a key.
func below(key string, sets []modelEdit, unsets [][]string) (s []modelEdit, u [][]string) {
	for _, e := range sets {
		if len(e.path) > 0 && e.path[0] == key {
			s = append(s, modelEdit{e.path[1:], e.json})
		}
	}
	for _, p := range unsets {
		if len(p) > 0 && p[0] == key {
			u = append(u, p[1:])
		}
	}
	return s, u
}

func gone(unsets [][]string) bool {
	return slices.ContainsFunc(unsets, func(p []string) bool { return len(p) == 0 })
}

func (m *model) apply(v *writtenJSON, sets []modelEdit, unsets [][]string) (*edited, error) {
	switch {
	case len(sets) == 1 && len(sets[0].path) == 0:
		m.spliced = append(m.spliced, modelSplice{v.start, v.end, sets[0].json})
		return m.given(sets[0].json, unsets)
	case len(sets) == 0 && len(unsets) == 0:
		return &edited{text: m.text[v.start:v.end]}, nil
	case v.kind == '{':
		return m.object(v, sets, unsets)
	case v.kind == '[':
		return m.list(v, sets, unsets)
	case len(sets) == 0:
		return &edited{text: m.text[v.start:v.end]}, nil
	case v.kind == 'n':
		m.added = true
		return m.fresh(sets, unsets)
	}
	return nil, errImpossible
}

// given is what was assigned, without what is removed from that again.
func (m *model) given(text string, unsets [][]string) (*edited, error) {
	if len(unsets) == 0 {
		return &edited{text: text, given: true}, nil
	}
	m.removed = true
	inner := &model{t: m.t, text: text}
	return inner.apply(readJSON(m.t, text), nil, unsets)
}

// fresh is an object where there was nothing.
func (m *model) fresh(sets []modelEdit, unsets [][]string) (*edited, error) {
	if len(sets[0].path) == 0 {
		return m.given(sets[0].json, unsets)
	}
	for _, s := range sets {
		if isIndex(s.path[0]) {
			return nil, errImpossible
		}
	}
	return m.object(&writtenJSON{kind: '{'}, sets, unsets)
}

func (m *model) object(v *writtenJSON, sets []modelEdit, unsets [][]string) (*edited, error) {
	out := &edited{kind: '{'}
	add := func(rawKey string, inner *edited, err error) error {
		out.rawKeys, out.inner = append(out.rawKeys, rawKey), append(out.inner, inner)
		return err
	}
	for i, key := range v.keys {
		s, u := below(key, sets, unsets)
		if gone(u) {
			m.removed = true
			continue
		}
		inner, err := m.apply(v.inner[i], s, u)
		if err := add(v.rawKeys[i], inner, err); err != nil {
			return nil, err
		}
	}
	for i, set := range sets {
		key := set.path[0]
		first := slices.IndexFunc(sets, func(e modelEdit) bool { return e.path[0] == key }) == i
		if slices.Contains(v.keys, key) || !first {
			continue
		}
		m.added = true
		s, u := below(key, sets, unsets)
		inner, err := m.fresh(s, u)
		if err := add("", inner, err); err != nil {
			return nil, err
		}
		out.rawKeys[len(out.rawKeys)-1] = string(appendJSONString(nil, key))
	}
	return out, nil
}

func (m *model) list(v *writtenJSON, sets []modelEdit, unsets [][]string) (*edited, error) {
	for _, s := range sets {
		if !isIndex(s.path[0]) || int(s.path[0][0]-'0') >= len(v.inner) {
			return nil, errImpossible
		}
	}
	out := &edited{kind: '['}
	for i := range v.inner {
		s, u := below(fmt.Sprint(i), sets, unsets)
		if gone(u) {
			m.removed = true
			continue
		}
		inner, err := m.apply(v.inner[i], s, u)
		if err != nil {
			return nil, err
		}
		out.inner = append(out.inner, inner)
	}
	return out, nil
}

func isIndex(key string) bool { return key == "0" || key == "1" || key == "2" }

// differs says how a text is not what it is to be.
func (e *edited) differs(text string, v *writtenJSON) error {
	got := text[v.start:v.end]
	switch {
	case e.kind == 0 && got != e.text:
		return fmt.Errorf("%s where %s is to be", got, e.text)
	case e.kind == 0:
		return nil
	case e.kind != v.kind || len(e.inner) != len(v.inner) || !slices.Equal(e.rawKeys, v.rawKeys):
		return fmt.Errorf("%s: %q with %d inner values, not %q with %d", got, v.rawKeys, len(v.inner), e.rawKeys, len(e.inner))
	}
	for i, inner := range e.inner {
		if err := inner.differs(text, v.inner[i]); err != nil {
			return err
		}
	}
	return nil
}

// replaced is the text with only values replaced.
func (m *model) replaced() string {
	out, at := "", 0
	for _, s := range m.spliced {
		out += m.text[at:s.start] + s.json
		at = s.end
	}
	return out + m.text[at:]
}
