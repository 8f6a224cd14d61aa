// Package config makes checked pipelines of HCL files.
//
// [Load] reads files and folders as one configuration, and reports every mistake at once as a diagnostic
// with its place. It never dials: what it returns is ready to be started.
//
// The arguments of a component are described by the struct that its constructor takes, and by nothing
// else: see [Describe] for the tags.
package config

import (
	"log/slog"

	"github.com/hashicorp/hcl/v2"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
	"github.com/pipeamqp/pipe/telemetry"
)

// Options say what a configuration is made of beside its files.
type Options struct {
	// Registry holds the kinds of component that the files can name; nil holds none.
	Registry *engine.Registry
	// Vars are values of variables by name, as written on the command line. They win over VarFiles,
	// and these over the environment (PIPE_VAR_name).
	Vars map[string]string
	// VarFiles are files with values of variables; a later one wins.
	VarFiles []string
	// Environ looks an environment variable up; os.LookupEnv by default.
	Environ func(name string) (string, bool)
	// Logger is handed to connections and components; by default nothing is logged.
	Logger *slog.Logger
	// OverrideURL, if set, is the address of every connection, whatever the files say of its
	// addresses and of TLS.
	OverrideURL string
	// EmbeddedURL is the address that "embedded:" stands for: that of a broker in the process, which the caller has started. Without it, such
	// addresses are valid and lead nowhere: see [Config.Embedded].
	EmbeddedURL string
}

// Config is a checked configuration.
type Config struct {
	// Connections are those that something uses, by name. They are opened, but not started.
	Connections map[string]*pool.Pool
	// Telemetry is what the files say about telemetry; nil where they say nothing.
	Telemetry *telemetry.Config
	// Pipelines are in the order of the files, branches among them.
	Pipelines []*engine.Pipeline
	// Uses says, by the name of a pipeline, what it cannot run without.
	Uses map[string]Uses

	// Embedded says that a connection is "embedded:".
	Embedded bool

	files map[string]*hcl.File
}

// Uses is what a pipeline cannot run without, the branches that it sends to included.
type Uses struct {
	// Connections are names in [Config.Connections], sorted.
	Connections []string
	// Entities are what is declared by the files: the queue that is consumed, the exchanges and
	// queues that are published to, and everything that messages reach from there.
	Entities []Entity
	// Branches are the pipelines that it sends to, directly or not, sorted.
	Branches []string
}

// Entity is something that is declared on a connection. Kind and Name are those of a
// [pool.TopologyError].
type Entity struct {
	Connection string
	Kind       string // "exchange", "queue" or "binding"
	Name       string
}

// Files returns the files that were read, by the name that diagnostics use for them, for
// [WriteDiagnostics]. Secrets in them are masked.
func (c *Config) Files() map[string]*hcl.File { return c.files }

// Load reads files, and all *.hcl files of folders, as one configuration. The diagnostics hold every
// mistake; secrets do not show in them. The configuration is never nil, but is fit for use only if the
// diagnostics have no errors.
func Load(paths []string, o Options) (*Config, hcl.Diagnostics) {
	l := newLoader(o)
	return l.load(l.read(paths))
}
