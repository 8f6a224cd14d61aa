package pool

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/internal/testproxy"
)

// TestRotation expects that a password that has changed is read again at the next dial, and never shown.
func TestRotation(t *testing.T) {
	node := testbroker.Shared(t)
	url := testbroker.VHost(t)
	user := "rotated-" + testbroker.VHostName(url)
	if err := node.AddUser(t.Context(), user, "s3cret-one", testbroker.VHostName(url)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("s3cret-one")
	proxy := testproxy.New(t, url)
	var log journal
	o := faultOptions(proxy.URL(url))
	o.Credentials, o.Logger = FileCredentials(user, file), log.logger()
	p := start(t, o)
	if _, err := node.Ctl(t.Context(), "change_password", user, "s3cret-two"); err != nil {
		t.Fatal(err)
	}
	write("s3cret-two")
	proxy.Reset()
	testbroker.Eventually(t, patience, func() bool { return p.Stats().Reconnects >= 2 && p.State() == StateReady }, "the pool has reconnected")
	if err := p.Publish(within(t, patience), &Publishing{RoutingKey: flowing, Mandatory: true}); err != nil {
		t.Error(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	proxy.Reset()
	testbroker.Eventually(t, patience, func() bool { return strings.Contains(log.String(), "read the password of user") }, "the pool says that there is no password")
	testbroker.Eventually(t, patience, func() bool {
		err := p.Trouble()
		return err != nil && strings.Contains(err.Error(), "read the password of user")
	}, "the pool tells why it is not connected")
	write("s3cret-two")
	testbroker.Eventually(t, patience, func() bool { return p.Stats().Reconnects >= 4 && p.State() == StateReady }, "the pool has reconnected")
	if err := p.Trouble(); err != nil {
		t.Errorf("the trouble is over, and it says %v", err)
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Error("the password is in the log")
	}
	wrong := faultOptions(url)
	wrong.Credentials = func(context.Context) (string, string, error) { return user, "s3cret-wrong", nil }
	q := opened(t, wrong)
	err := q.Start(within(t, patience))
	if err == nil || !strings.Contains(err.Error(), user) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

// TestPermissionTakenAway expects a pool that had been let in to come back when it is let in again, however long that takes.
func TestPermissionTakenAway(t *testing.T) {
	node := testbroker.Shared(t)
	url := testbroker.VHost(t)
	vhost := testbroker.VHostName(url)
	user := "revoked-" + vhost
	if err := node.AddUser(t.Context(), user, "secret", vhost); err != nil {
		t.Fatal(err)
	}
	var log journal
	o := faultOptions(node.UserURL(user, "secret", vhost))
	o.Logger = log.logger()
	p := start(t, o)
	ctl := func(args ...string) {
		t.Helper()
		if _, err := node.Ctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	ctl("clear_permissions", "-p", vhost, user)
	ctl("close_all_connections", "--vhost", vhost, "test")
	testbroker.Eventually(t, patience, func() bool { return strings.Count(log.String(), "NOT_ALLOWED") > 20 }, "the broker refuses again and again")
	if p.State() != StateDialing {
		t.Error(p.State())
	}
	ctl("set_permissions", "-p", vhost, user, ".*", ".*", ".*")
	if err := p.Publish(within(t, patience), &Publishing{RoutingKey: flowing, Mandatory: true}); err != nil {
		t.Error(err)
	}
}
