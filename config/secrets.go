package config

import (
	"bytes"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// sensitive marks values that must not show. What is computed from one is marked, too.
const sensitive = mark("sensitive")

type mark string

// masked stands for a secret in a text.
const masked = "(hidden)"

// secrets are texts that must not show in a diagnostic.
type secrets struct {
	texts  []string
	ranges []hcl.Range // of sources that spell secrets
}

// add takes the texts of a value, nested ones included.
func (s *secrets) add(v cty.Value) {
	v, _ = v.UnmarkDeep()
	_ = cty.Walk(v, func(_ cty.Path, part cty.Value) (bool, error) {
		if part.IsNull() || !part.IsKnown() || !part.Type().IsPrimitiveType() || part.Type() == cty.Bool {
			return true, nil
		}
		if text, err := convert.Convert(part, cty.String); err == nil {
			s.addText(text.AsString())
		}
		return true, nil
	})
}

func (s *secrets) addText(text string) {
	if text != "" && !slices.Contains(s.texts, text) {
		s.texts = append(s.texts, text)
	}
}

// addURL takes the password of a URL, as it is and as it is written there. The default password of
// RabbitMQ is no secret on its own.
func (s *secrets) addURL(text string) {
	if m := password.FindStringSubmatch(text); m != nil && m[2] != "guest" {
		s.addText(m[2])
	}
	if u, err := url.Parse(text); err == nil {
		if p, ok := u.User.Password(); ok && p != "guest" {
			s.addText(p)
		}
	}
}

// password finds the password in a URL, up to the last @ in case that it holds one itself.
var password = regexp.MustCompile(`(?i)(amqps?://[^\s":/@]*:)([^\s"]*)@`)

// whole is how long a secret must be to be masked inside a word.
const whole = 4

// hide masks every secret in a text.
func (s *secrets) hide(text string) string {
	text = password.ReplaceAllString(text, "${1}"+masked+"@")
	for _, secret := range s.sorted() {
		text = replaceSecret(text, secret, func(string) string { return masked })
	}
	return text
}

// sorted returns the longest secrets first, because one may hold another.
func (s *secrets) sorted() []string {
	return slices.SortedFunc(slices.Values(s.texts), func(a, b string) int { return len(b) - len(a) })
}

func replaceSecret(text, secret string, with func(string) string) string {
	if len(secret) >= whole {
		return strings.ReplaceAll(text, secret, with(secret))
	}
	short := regexp.MustCompile(`(^|[^\pL\pN_])(` + regexp.QuoteMeta(secret) + `)($|[^\pL\pN_])`)
	return short.ReplaceAllStringFunc(text, func(m string) string {
		return strings.Replace(m, secret, with(secret), 1)
	})
}

// hideSource returns a copy of a file's bytes in which secrets are stars. Positions stay what they were.
func (s *secrets) hideSource(name string, src []byte) []byte {
	src = bytes.Clone(src)
	for _, r := range s.ranges {
		if r.Filename == name && r.CanSliceBytes(src) {
			stars(src[r.Start.Byte:r.End.Byte])
		}
	}
	for _, at := range password.FindAllSubmatchIndex(src, -1) {
		if word := src[at[4]:at[5]]; !bytes.HasPrefix(word, []byte("${")) {
			stars(word)
		}
	}
	text := string(src)
	for _, secret := range s.sorted() {
		text = replaceSecret(text, secret, func(s string) string { return strings.Repeat("*", len(s)) })
	}
	return []byte(text)
}

// stars overwrites what can be seen; lines stay lines, and a character of several bytes becomes as many stars.
func stars(b []byte) {
	for i, c := range b {
		if c != '\n' && c != '\r' && c != '\t' && c != ' ' {
			b[i] = '*'
		}
	}
}

// hideAll masks the texts of diagnostics.
func (s *secrets) hideAll(diags hcl.Diagnostics) {
	for _, d := range diags {
		d.Summary, d.Detail = s.hide(d.Summary), s.hide(d.Detail)
	}
}
