package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// The exit codes. They are part of what pipe promises: see exitCodesTopic.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitInvalid = 3
	exitRefused = 4
	exitSignal  = 128 // plus the signal's number
)

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `pipe exits with

    0   it did what it was asked to, or was interrupted and finished what was under way
    1   it failed while it ran: a pipeline stopped by itself, a file could not be written, ...
    2   the command line is wrong
    3   a pipeline file is wrong, or the expression of "pipe eval"; or "pipe fmt --check" found
        a file that is not formatted
    4   the broker refused: login, virtual host or a declaration. Trying again will not help
        until somebody changes the broker or the file. (Where other pipelines carried on, it
        is reported when they have ended.)
  130   a second interrupt (SIGINT) stopped it at once; 143 if that was SIGTERM. What was
        under way goes back to its queue.

A supervisor that restarts pipe does well not to on 2, 3 and 4
(systemd: RestartPreventExitStatus=2 3 4).`,
	}
}

// exitError ends the command with a code. Without err there is nothing left to say.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// told ends the command with a code and says nothing: the cause has been reported.
func told(code int) error { return &exitError{code: code} }

// usageError ends the command because its command line is wrong.
func usageError(cmd *cobra.Command, err error) error {
	var e *exitError
	if errors.As(err, &e) {
		return err
	}
	return &exitError{code: exitUsage, err: fmt.Errorf("%w\nSee '%s --help'", err, cmd.CommandPath())}
}
