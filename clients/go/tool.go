package agentd

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

// What a tool's function may return as its error, itself or wrapped, to say more than "it failed".
// Any other error is a failure, and its text is for the model.
var (
	// ErrStopped says that the call was stopped before it had its effect.
	ErrStopped = errors.New("stopped before the effect")
	// ErrNotExecuted is for Reconcile: the call had not happened, a new attempt is safe.
	ErrNotExecuted = errors.New("not executed")
	// ErrOutcomeUnknown says that nobody can tell whether the effect happened.
	ErrOutcomeUnknown = errors.New("the outcome is unknown")
)

// A Function executes a call, or looks into one. Its result is encoded as JSON. The context ends
// when the call is to stop: context.Cause says why.
type Function func(ctx context.Context, call *Call) (any, error)

// A Tool is a function of this program that agents may call.
type Tool struct {
	Name         string // [A-Za-z][A-Za-z0-9_-]{0,63}: what the model sees
	Description  string // for the model
	InputSchema  string // JSON Schema (2020-12) of the arguments; empty: an object without properties
	OutputSchema string // JSON Schema of the result; empty: any
	// Effect says what a second execution would do. Unset behaves as IRREVERSIBLE.
	Effect      agentdv1.EffectClass
	Timeout     time.Duration // of one attempt; 0: the daemon's default
	Permissions []string

	Execute   Function
	Reconcile Function // finds out what became of a call; optional
	Simulate  Function // predicts what a call would do, and does nothing; optional
}

func (t Tool) manifest(toolset string) *agentdv1.Tool {
	manifest := &agentdv1.Tool{
		Name:             "toolsets/" + toolset + "/tools/" + t.Name,
		Description:      t.Description,
		InputSchemaJson:  t.InputSchema,
		OutputSchemaJson: t.OutputSchema,
		Effect:           t.Effect,
		Reconcile:        t.Reconcile != nil,
		Simulate:         t.Simulate != nil,
		Permissions:      t.Permissions,
	}
	if t.Timeout > 0 {
		manifest.Timeout = durationpb.New(t.Timeout)
	}
	return manifest
}

// repeatable tells whether a second execution does no harm.
func (t Tool) repeatable() bool {
	return t.Effect == agentdv1.EffectClass_EFFECT_CLASS_READ_ONLY || t.Effect == agentdv1.EffectClass_EFFECT_CLASS_IDEMPOTENT
}

func (t Tool) function(kind agentdv1.InvocationKind) Function {
	switch kind {
	case agentdv1.InvocationKind_INVOCATION_KIND_EXECUTE:
		return t.Execute
	case agentdv1.InvocationKind_INVOCATION_KIND_RECONCILE:
		return t.Reconcile
	case agentdv1.InvocationKind_INVOCATION_KIND_SIMULATE:
		return t.Simulate
	default:
		return nil
	}
}

// A Call is what a function knows of the call that it executes.
type Call struct {
	Name    string // runs/{run}/calls/{call}
	Attempt int32  // counted from 1
	// IdempotencyKey is the same for every attempt of this call: do not act twice for one key.
	IdempotencyKey string
	Arguments      json.RawMessage // checked against the tool's schema
	Deadline       time.Time       // when the attempt times out; zero: never
	Permissions    []string        // what the call may do
	Traceparent    string          // the W3C trace context of the run; may be empty

	report func(message string, fraction float64)
}

// Run returns the run, runs/{run}.
func (c *Call) Run() string {
	run, _, _ := strings.Cut(c.Name, "/calls/")
	return run
}

// Decode reads the arguments into a struct or map.
func (c *Call) Decode(into any) error { return json.Unmarshal(c.Arguments, into) }

// Progress shows how far the call is: a note of at most 4 KiB, and the part done from 0 to 1 (negative:
// not said). It returns at once; of notes that come faster than they are sent, the newest is sent.
func (c *Call) Progress(message string, fraction float64) { c.report(message, fraction) }

func newCall(invocation *agentdv1.Invocation, report func(string, float64)) *Call {
	call := &Call{
		Name:           invocation.GetCall(),
		Attempt:        invocation.GetAttempt(),
		IdempotencyKey: invocation.GetIdempotencyKey(),
		Arguments:      json.RawMessage(invocation.GetArgumentsJson()),
		Permissions:    invocation.GetPermissions(),
		Traceparent:    invocation.GetTraceparent(),
		report:         report,
	}
	if len(call.Arguments) == 0 {
		call.Arguments = json.RawMessage("{}")
	}
	if invocation.GetDeadline() != nil {
		call.Deadline = invocation.GetDeadline().AsTime()
	}
	return call
}
