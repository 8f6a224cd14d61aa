package pool

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/internal/testproxy"
)

// TestNothingShowsThePassword makes a pool say whatever it can say, and looks for the password in all of it.
func TestNothingShowsThePassword(t *testing.T) {
	const password = "hun:ter/2 s3cret@%"
	node := testbroker.Shared(t)
	good := testbroker.VHost(t)
	user := "hidden-" + testbroker.VHostName(good)
	if err := node.AddUser(t.Context(), user, password, testbroker.VHostName(good)); err != nil {
		t.Fatal(err)
	}
	at := func(port int, vhost, password string) string {
		return Address{Port: port, User: user, Password: password, VHost: vhost}.URL()
	}
	proxy := testproxy.New(t, good)
	var said journal
	say := func(what any) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			fmt.Fprintf(&said, verb+"\n", what)
		}
		if err, ok := what.(error); ok {
			for ; err != nil; err = errors.Unwrap(err) {
				fmt.Fprintf(&said, "%#v\n", err)
			}
		}
	}
	for _, o := range []Options{
		{URLs: []string{proxy.URL(at(node.Port(), testbroker.VHostName(good), password))}},
		{URLs: []string{at(node.Port(), testbroker.VHostName(good), password+"x")}}, // a wrong password
		{URLs: []string{at(node.Port(), "no-such-vhost", password)}},
		{URLs: []string{at(node.Port(), "/", password)}}, // no permission there
		{URLs: []string{at(1, "/", password)}},           // nobody listens
		{URLs: []string{strings.Replace(at(node.Port(), "/", password), "amqp:", "amqps:", 1)}},
		{URLs: []string{strings.Replace(at(node.Port(), "/", password), "amqp:", "http:", 1)}},
		{URLs: []string{"amqp://" + user + ":" + password + "@127.0.0.1"}}, // not escaped
		{URLs: []string{at(70000, "/", password), at(-1, "a", password)}},
		{URLs: []string{at(1, "a", password), at(1, "b", password)}},
	} {
		o.Logger = said.logger()
		o.OnState = func(s State) { say(s) }
		say(o)
		p, err := Open(o)
		if err != nil {
			say(err)
			continue
		}
		p.backoffMin, p.backoffMax = time.Millisecond, 10*time.Millisecond
		say(p)
		say(p.Redacted())
		ctx := within(t, patience)
		if strings.Contains(o.URLs[0], "127.0.0.1:1") || strings.Contains(o.URLs[0], "amqps") {
			ctx = expired()
		}
		err = p.Start(ctx)
		say(err)
		if err == nil {
			say(p.Publish(ctx, &Publishing{RoutingKey: "nowhere", Mandatory: true}))
			say(p.Publish(ctx, &Publishing{Exchange: "none"}))
			_, _, err := p.Get(ctx, "none")
			say(err)
			proxy.Reset()
			testbroker.Eventually(t, patience, func() bool { return p.Stats().Reconnects >= 2 }, "the pool has reconnected")
		}
		say(p.Publish(expired(), &Publishing{}))
		say(p.Stats())
		say(p.Close(within(t, patience)))
		say(p)
	}
	text := said.String()
	if len(text) < 5000 || !strings.Contains(text, user) {
		t.Fatal("little was said:", text)
	}
	for _, secret := range []string{password, "s3cret", url.QueryEscape(password), url.PathEscape(password)} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%q shows: …%s…", secret, text[max(0, i-200):min(len(text), i+50)])
		}
	}
}
