package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	agentd "github.com/agentd/agentd/clients/go"
	"github.com/agentd/agentd/clients/go/agentdv1"
)

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// quoted returns a text as one word.
func quoted(text string) string { return `"` + escapes.Replace(text) + `"` }

// value returns the name of an enum's value without its prefix; empty when it is unset.
func value(enum protoreflect.Enum) string {
	if enum.Number() == 0 {
		return ""
	}
	values := enum.Descriptor().Values()
	prefix := strings.TrimSuffix(string(values.ByNumber(0).Name()), "UNSPECIFIED")
	return strings.TrimPrefix(string(values.ByNumber(enum.Number()).Name()), prefix)
}

func yes(fact bool) string {
	if fact {
		return "yes"
	}
	return "no"
}

var codeNames = map[codes.Code]string{
	codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
	codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
	codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
	codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
	codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
}

func errorWords(err *agentd.Error) string {
	fields := make([]string, len(err.Faults))
	for i, fault := range err.Faults {
		fields[i] = fault.Field
	}
	return fmt.Sprintf("%s %s %s fields=%s", err.Kind, agentd.ReasonName(err.Reason), codeNames[err.Code], strings.Join(fields, ","))
}

func errorLine(id string, err *agentd.Error) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(err.Metadata)) {
		pairs = append(pairs, key+":"+err.Metadata[key])
	}
	retry := "none"
	if err.RetryAfter != nil {
		retry = fmt.Sprint(err.RetryAfter.Milliseconds())
	}
	return fmt.Sprintf("error %s %s metadata=%s retry_ms=%s", id, errorWords(err), strings.Join(pairs, ","), retry)
}

func runLine(run *agentdv1.Run) string {
	return fmt.Sprintf("run %s state=%s output=%s failure=%s turns=%d tool_calls=%d", run.GetName(), value(run.GetState()),
		quoted(run.GetOutput()), value(run.GetFailure().GetReason()), run.GetUsage().GetTurns(), run.GetUsage().GetToolCalls())
}

func callLine(call *agentdv1.Call) string {
	return fmt.Sprintf("call %s tool=%s state=%s attempt=%d host=%s result=%s error=%s", call.GetName(), call.GetTool(),
		value(call.GetState()), call.GetAttempt(), call.GetHost(), quoted(call.GetResultJson()), value(call.GetError().GetReason()))
}

// kind returns the name of the event's payload.
func kind(event *agentdv1.Event) string {
	message := event.ProtoReflect()
	field := message.WhichOneof(message.Descriptor().Oneofs().ByName("payload"))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

func eventLine(event *agentdv1.Event) string {
	more := eventWords(event)
	if more != "" {
		more = " " + more
	}
	return fmt.Sprintf("event %s %d %s%s", event.GetRun(), event.GetSequence(), kind(event), more)
}

func eventWords(event *agentdv1.Event) string {
	switch payload := event.GetPayload().(type) {
	case *agentdv1.Event_RunCreated:
		fact := payload.RunCreated
		return fmt.Sprintf("agent=%s agent_revision=%d goal=%s", fact.GetAgent(), fact.GetAgentRevision(), quoted(fact.GetGoal()))
	case *agentdv1.Event_RunStarted:
		return "model=" + payload.RunStarted.GetModel()
	case *agentdv1.Event_RunWaiting:
		return "reason=" + value(payload.RunWaiting.GetReason())
	case *agentdv1.Event_RunCancelling:
		fact := payload.RunCancelling
		return fmt.Sprintf("reason=%s outcome=%s", quoted(fact.GetReason()), value(fact.GetOutcome()))
	case *agentdv1.Event_RunEnded:
		fact := payload.RunEnded
		return fmt.Sprintf("state=%s output=%s failure=%s", value(fact.GetState()), quoted(fact.GetOutput()), value(fact.GetFailure().GetReason()))
	case *agentdv1.Event_MessagePosted:
		return "text=" + quoted(payload.MessagePosted.GetText())
	case *agentdv1.Event_ModelRequested:
		return fmt.Sprintf("turn=%d attempt=%d", payload.ModelRequested.GetTurn(), payload.ModelRequested.GetAttempt())
	case *agentdv1.Event_ModelReplied:
		return repliedWords(payload.ModelReplied)
	case *agentdv1.Event_CallLeased:
		fact := payload.CallLeased
		return fmt.Sprintf("call=%s attempt=%d host=%s", fact.GetCall(), fact.GetAttempt(), fact.GetHost())
	case *agentdv1.Event_CallLost:
		fact := payload.CallLost
		return fmt.Sprintf("call=%s attempt=%d reason=%s", fact.GetCall(), fact.GetAttempt(), value(fact.GetReason()))
	case *agentdv1.Event_CallUnknown:
		fact := payload.CallUnknown
		return fmt.Sprintf("call=%s attempt=%d reason=%s", fact.GetCall(), fact.GetAttempt(), value(fact.GetReason()))
	case *agentdv1.Event_CallEnded:
		fact := payload.CallEnded
		return fmt.Sprintf("call=%s attempt=%d state=%s result=%s error=%s message=%s", fact.GetCall(), fact.GetAttempt(), value(fact.GetState()),
			quoted(fact.GetResultJson()), value(fact.GetError().GetReason()), quoted(fact.GetError().GetMessage()))
	default:
		return ""
	}
}

func repliedWords(fact *agentdv1.ModelReplied) string {
	calls := make([]string, len(fact.GetCalls()))
	for i, call := range fact.GetCalls() {
		calls[i] = fmt.Sprintf("%s(%s)", call.GetTool(), call.GetCall())
	}
	return fmt.Sprintf("turn=%d text=%s calls=%s stop=%s", fact.GetTurn(), quoted(fact.GetText()), strings.Join(calls, ","), value(fact.GetStopReason()))
}
