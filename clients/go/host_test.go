package agentd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

const (
	readOnly      = agentdv1.EffectClass_EFFECT_CLASS_READ_ONLY
	nonIdempotent = agentdv1.EffectClass_EFFECT_CLASS_NON_IDEMPOTENT
)

func invocation(tool string, number string) *agentdv1.Invocation {
	return &agentdv1.Invocation{
		Call: "runs/a/calls/" + number, Kind: kindExecute, Tool: "toolsets/box/tools/" + tool, Attempt: 1, LeaseToken: "token-" + number,
	}
}

func (s *server) invoke(made *agentdv1.Invocation) {
	s.instructions <- &agentdv1.HostInstruction{Instruction: &agentdv1.HostInstruction_Invoke{Invoke: made}}
}

func (s *server) stop(made *agentdv1.Invocation) {
	cancel := &agentdv1.Cancellation{Call: made.GetCall(), Attempt: made.GetAttempt(), Reason: "enough"}
	s.instructions <- &agentdv1.HostInstruction{Instruction: &agentdv1.HostInstruction_Cancel{Cancel: cancel}}
}

func tool(name string, effect agentdv1.EffectClass, function Function) Tool {
	return Tool{Name: name, Effect: effect, Execute: function}
}

func returning(value any, err error) Function {
	return func(context.Context, *Call) (any, error) { return value, err }
}

// untilStopped gives up when it is asked to, as most functions do.
func untilStopped(begun chan<- struct{}) Function {
	return func(ctx context.Context, _ *Call) (any, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

func host(t *testing.T, client *Client, id string, tools ...Tool) *Host {
	t.Helper()
	made, err := client.Host(t.Context(), HostOptions{Toolset: "box", Tools: tools, ID: id, Drain: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.Close() })
	return made
}

func TestOutcomes(t *testing.T) {
	s, client := serve(t)
	host(t, client, "",
		tool("text", readOnly, returning("<done>", nil)),
		tool("nothing", readOnly, returning(nil, nil)),
		tool("fails", readOnly, returning(nil, errors.New("no such file"))),
		tool("unsure", readOnly, returning(nil, ErrOutcomeUnknown)),
		tool("panics", readOnly, func(context.Context, *Call) (any, error) { panic("oh") }),
		tool("strange", readOnly, returning(make(chan int), nil)),
	)
	for name, want := range map[string]func(*agentdv1.Completion) bool{
		"text":    func(c *agentdv1.Completion) bool { return c.GetResultJson() == `"<done>"` },
		"nothing": func(c *agentdv1.Completion) bool { return c.GetResultJson() == "null" },
		"fails":   func(c *agentdv1.Completion) bool { return c.GetErrorMessage() == "no such file" },
		"unsure":  func(c *agentdv1.Completion) bool { return c.GetUnknown() != nil },
		"panics":  func(c *agentdv1.Completion) bool { return c.GetErrorMessage() == "panic: oh" },
		"strange": func(c *agentdv1.Completion) bool { return strings.Contains(c.GetErrorMessage(), "not JSON") },
		"gone":    func(c *agentdv1.Completion) bool { return strings.Contains(c.GetErrorMessage(), "does not offer") },
	} {
		s.invoke(invocation(name, name))
		if completion := next(t, s.completions); !want(completion) || completion.GetLeaseToken() != "token-"+name {
			t.Errorf("%s: %v", name, completion)
		}
	}
	probe := invocation("text", "probe")
	probe.Kind = kindReconcile
	s.invoke(probe)
	if completion := next(t, s.completions); completion.GetUnknown() == nil {
		t.Error(completion)
	}
}

func TestAStoppedCallSaysWhatItKnows(t *testing.T) {
	s, client := serve(t)
	begun := make(chan struct{}, 1)
	host(t, client, "", tool("look", readOnly, untilStopped(begun)), tool("send", nonIdempotent, untilStopped(begun)))
	for name, isRight := range map[string]func(*agentdv1.Completion) bool{
		"look": func(c *agentdv1.Completion) bool { return c.GetStopped() != nil },
		"send": func(c *agentdv1.Completion) bool { return strings.Contains(c.GetUnknown().GetMessage(), "enough") },
	} {
		made := invocation(name, name)
		s.invoke(made)
		next(t, begun)
		s.stop(made)
		if completion := next(t, s.completions); !isRight(completion) {
			t.Errorf("%s: %v", name, completion)
		}
	}
	late := invocation("look", "late")
	late.Deadline = timestamppb.New(time.Now().Add(20 * time.Millisecond))
	s.invoke(late)
	next(t, begun)
	if completion := next(t, s.completions); completion.GetStopped() == nil {
		t.Error(completion)
	}
}

func TestALeaseOfAnEarlierProcessIsUnknown(t *testing.T) {
	s, client := serve(t)
	s.leases = []*agentdv1.Invocation{invocation("text", "1")}
	host(t, client, "desk", tool("text", nonIdempotent, returning("again", nil)))
	if completion := next(t, s.completions); completion.GetUnknown() == nil || completion.GetLeaseToken() != "token-1" {
		t.Error(completion)
	}
}

func TestALeaseUnderOurOwnIDBegins(t *testing.T) {
	s, client := serve(t)
	s.leases = []*agentdv1.Invocation{invocation("text", "1")}
	host(t, client, "", tool("text", nonIdempotent, returning("first", nil)))
	if completion := next(t, s.completions); completion.GetResultJson() != `"first"` {
		t.Error(completion)
	}
}

func TestAHostConnectsAgainAndKeepsItsCalls(t *testing.T) {
	s, client := serve(t)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	made := host(t, client, "desk", tool("slow", nonIdempotent, func(context.Context, *Call) (any, error) {
		begun <- struct{}{}
		<-release
		return "once", nil
	}))
	given := invocation("slow", "1")
	s.invoke(given)
	next(t, begun)
	renewed := invocation("slow", "1")
	renewed.LeaseToken = "renewed"
	s.mu.Lock()
	s.leases = []*agentdv1.Invocation{renewed}
	s.mu.Unlock()
	s.cuts <- nil
	next(t, s.registrations)
	if again := next(t, s.registrations); again.GetHost() != made.ID() {
		t.Error(again)
	}
	s.invoke(renewed) // The same attempt once more: it is executed already.
	probe := invocation("slow", "probe")
	probe.Kind = kindReconcile
	s.invoke(probe) // Answered when the one before was obeyed.
	next(t, s.completions)
	close(release)
	if completion := next(t, s.completions); completion.GetResultJson() != `"once"` || completion.GetLeaseToken() != "renewed" {
		t.Error(completion)
	}
	if len(begun) != 0 {
		t.Error("the attempt was executed twice")
	}
}

func TestAReplacedHostEnds(t *testing.T) {
	s, client := serve(t)
	made := host(t, client, "desk", tool("text", readOnly, returning("", nil)))
	s.cuts <- refusal(codes.Aborted, "HOST_REPLACED")
	next(t, made.Done())
	var failure *Error
	if !errors.As(made.Err(), &failure) || failure.Reason != agentdv1.ErrorReason_ERROR_REASON_HOST_REPLACED {
		t.Error(made.Err())
	}
}

func TestOutcomesAreSentUntilTheyAreTaken(t *testing.T) {
	s, client := serve(t)
	refusals := 6
	s.refuse = func(*agentdv1.CompleteCallsRequest) error {
		if refusals--; refusals >= 0 {
			return refusal(codes.ResourceExhausted, "DISK_FULL")
		}
		return nil
	}
	host(t, client, "", tool("text", readOnly, returning("kept", nil)))
	s.invoke(invocation("text", "1"))
	if completion := next(t, s.completions); completion.GetResultJson() != `"kept"` {
		t.Error(completion)
	}
}

func TestARefusedResultBecomesAFailure(t *testing.T) {
	s, client := serve(t)
	s.verdict = func(completion *agentdv1.Completion) agentdv1.LeaseResult {
		if completion.GetResultJson() != "" {
			return agentdv1.LeaseResult_LEASE_RESULT_INVALID
		}
		return agentdv1.LeaseResult_LEASE_RESULT_OK
	}
	s.refuse = func(request *agentdv1.CompleteCallsRequest) error {
		if strings.Contains(request.String(), "huge") {
			return refusal(codes.ResourceExhausted, "TOO_LARGE")
		}
		return nil
	}
	host(t, client, "", tool("text", readOnly, returning("wrong", nil)), tool("large", readOnly, returning("huge", nil)))
	s.invoke(invocation("text", "1"))
	next(t, s.completions)
	if completion := next(t, s.completions); !strings.Contains(completion.GetErrorMessage(), "not valid") {
		t.Error(completion)
	}
	s.invoke(invocation("large", "2"))
	if completion := next(t, s.completions); completion.GetErrorMessage() == "" {
		t.Error(completion)
	}
}

func TestALateOutcomeIsGivenToAProbe(t *testing.T) {
	s, client := serve(t)
	s.verdict = func(completion *agentdv1.Completion) agentdv1.LeaseResult {
		if completion.GetLeaseToken() == "token-1" {
			return agentdv1.LeaseResult_LEASE_RESULT_STALE_LEASE
		}
		return agentdv1.LeaseResult_LEASE_RESULT_OK
	}
	host(t, client, "", tool("text", nonIdempotent, returning("it happened", nil)))
	s.invoke(invocation("text", "1"))
	next(t, s.completions)
	s.invoke(invocation("text", "2")) // Reported after the answer to the first.
	next(t, s.completions)
	probe := invocation("text", "1")
	probe.Kind, probe.LeaseToken = kindReconcile, "probe"
	s.invoke(probe)
	if completion := next(t, s.completions); completion.GetResultJson() != `"it happened"` || completion.GetLeaseToken() != "probe" {
		t.Error(completion)
	}
}

func TestLeasesAreExtendedAtAThirdAndALostOneStops(t *testing.T) {
	s, client := serve(t)
	s.lease = 30 * time.Millisecond
	begun := make(chan struct{}, 1)
	host(t, client, "", tool("look", readOnly, untilStopped(begun)))
	s.invoke(invocation("look", "1"))
	next(t, begun)
	if extension := next(t, s.extensions); extension.GetLeaseToken() != "token-1" {
		t.Error(extension)
	}
	s.mu.Lock()
	s.leaseVerdict = agentdv1.LeaseResult_LEASE_RESULT_STALE_LEASE
	s.mu.Unlock()
	if completion := next(t, s.completions); completion.GetStopped() == nil {
		t.Error(completion)
	}
}

func TestTheNewestNoteIsSent(t *testing.T) {
	s, client := serve(t)
	release := make(chan struct{})
	host(t, client, "", tool("slow", readOnly, func(_ context.Context, call *Call) (any, error) {
		call.Progress(strings.Repeat("é", 3000), 0.5)
		<-release
		return nil, nil
	}))
	s.invoke(invocation("slow", "1"))
	note := next(t, s.notes)
	close(release)
	if len(note.GetMessage()) != 4096 || note.GetFraction() != 0.5 {
		t.Error(len(note.GetMessage()), note.GetFraction())
	}
}

func TestCloseStopsWhatStillRuns(t *testing.T) {
	s, client := serve(t)
	begun := make(chan struct{}, 1)
	made := host(t, client, "", tool("look", readOnly, untilStopped(begun)))
	s.invoke(invocation("look", "1"))
	next(t, begun)
	if err := made.Close(); err != nil {
		t.Error(err)
	}
	if completion := next(t, s.completions); completion.GetStopped() == nil {
		t.Error(completion)
	}
}

func TestARefusedRegistrationComesOut(t *testing.T) {
	client, err := Connect("unix:/nonexistent/agentd.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := client.Host(ctx, HostOptions{Toolset: "box"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
