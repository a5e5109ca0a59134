package agentd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

const (
	kindExecute   = agentdv1.InvocationKind_INVOCATION_KIND_EXECUTE
	kindReconcile = agentdv1.InvocationKind_INVOCATION_KIND_RECONCILE
)

// A key names one attempt of a call.
type key struct {
	call    string
	attempt int32
}

// An execution is one attempt in this process, from its invocation until its outcome counts. Its
// fields belong to the reports' lock, but for the context.
type execution struct {
	invocation *agentdv1.Invocation
	completion *agentdv1.Completion // the outcome, once there is one
	queued     bool                 // whether the outcome waits to be sent
	ctx        context.Context
	cancel     context.CancelCauseFunc
}

func newExecution(parent context.Context, invocation *agentdv1.Invocation) *execution {
	ctx, cancel := context.WithCancelCause(parent)
	e := &execution{invocation: invocation, ctx: ctx, cancel: cancel}
	if deadline := invocation.GetDeadline(); deadline != nil {
		timer := time.AfterFunc(time.Until(deadline.AsTime()), func() { e.stop("its deadline passed") })
		context.AfterFunc(ctx, func() { timer.Stop() })
	}
	return e
}

func keyOf(invocation *agentdv1.Invocation) key {
	return key{invocation.GetCall(), invocation.GetAttempt()}
}

// answers tells whether this attempt's outcome is what an invocation asks for. A probe asks what
// became of it, and is not answered by an outcome that says that nobody knows.
func (e *execution) answers(invocation *agentdv1.Invocation) bool {
	return e.completion.GetUnknown() == nil || invocation.GetKind() != kindReconcile
}

// adopt takes over a lease that was given anew for the same attempt.
func (e *execution) adopt(invocation *agentdv1.Invocation) {
	e.invocation = invocation
	if e.completion != nil {
		e.completion = addressed(e.completion, invocation)
	}
}

// stop asks the tool to stop.
func (e *execution) stop(reason string) { e.cancel(errors.New(reason)) }

// outcome runs the tool's function and says what became of it.
func outcome(ctx context.Context, tool *Tool, invocation *agentdv1.Invocation, call *Call) *agentdv1.Completion {
	kind := invocation.GetKind()
	var function Function
	if tool != nil {
		function = tool.function(kind)
	}
	if function == nil {
		if kind == kindReconcile {
			return unknown("this host cannot find out what became of the call")
		}
		return failed("this host does not offer " + invocation.GetTool())
	}
	if ctx.Err() != nil {
		return beforeEffect(kind)
	}
	value, err := guarded(ctx, function, call)
	switch {
	case err == nil:
		return result(value)
	case errors.Is(err, ErrStopped):
		return beforeEffect(kind)
	case errors.Is(err, ErrNotExecuted):
		return &agentdv1.Completion{Outcome: &agentdv1.Completion_NotExecuted{NotExecuted: &agentdv1.CallNotExecuted{}}}
	case errors.Is(err, ErrOutcomeUnknown):
		return unknown(err.Error())
	case ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))):
		return interrupted(tool, kind, context.Cause(ctx).Error())
	default:
		return failed(err.Error())
	}
}

// guarded calls the function; a panic is a failure of the tool, not of its host.
func guarded(ctx context.Context, function Function, call *Call) (value any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	return function(ctx, call)
}

// addressed returns an outcome as the report for a lease.
func addressed(completion *agentdv1.Completion, invocation *agentdv1.Invocation) *agentdv1.Completion {
	report := proto.Clone(completion).(*agentdv1.Completion)
	report.Call, report.Attempt, report.LeaseToken = invocation.GetCall(), invocation.GetAttempt(), invocation.GetLeaseToken()
	if invocation.GetKind() == kindReconcile && report.GetStopped() != nil {
		report.Outcome = &agentdv1.Completion_NotExecuted{NotExecuted: &agentdv1.CallNotExecuted{}}
	}
	return report
}

func result(value any) *agentdv1.Completion {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return failed("the tool ran, but its result is not JSON: " + err.Error())
	}
	return &agentdv1.Completion{Outcome: &agentdv1.Completion_ResultJson{ResultJson: strings.TrimSuffix(text.String(), "\n")}}
}

// validText returns a text that protobuf takes: functions return errors of any bytes.
func validText(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func failed(message string) *agentdv1.Completion {
	message = validText(message)
	if message == "" {
		message = "the tool failed"
	}
	return &agentdv1.Completion{Outcome: &agentdv1.Completion_ErrorMessage{ErrorMessage: message}}
}

func unknown(message string) *agentdv1.Completion {
	message = validText(message)
	return &agentdv1.Completion{Outcome: &agentdv1.Completion_Unknown{Unknown: &agentdv1.CallOutcomeUnknown{Message: message}}}
}

func beforeEffect(kind agentdv1.InvocationKind) *agentdv1.Completion {
	if kind == kindReconcile { // It is the probe that was stopped: of the call, nothing was found out.
		return unknown("the probe was stopped")
	}
	return &agentdv1.Completion{Outcome: &agentdv1.Completion_Stopped{Stopped: &agentdv1.CallStopped{}}}
}

// interrupted returns the outcome of a function that gave up somewhere in the middle. Whether the
// effect had happened by then, only the tool knows; one that does says it with ErrStopped.
func interrupted(tool *Tool, kind agentdv1.InvocationKind, reason string) *agentdv1.Completion {
	if kind != kindExecute || tool.repeatable() {
		return beforeEffect(kind)
	}
	return unknown("it was stopped in the middle: " + reason)
}
