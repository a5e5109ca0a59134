package agentd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

const (
	errorDomain  = "agentd.dev"
	reasonPrefix = "ERROR_REASON_"
)

// A Kind says what a caller can do about an error. It is an error itself, for errors.Is:
//
//	if errors.Is(err, agentd.NotFound) { ... }
type Kind string

// The kinds of errors.
const (
	InvalidRequest Kind = "InvalidRequest" // change the request
	NotFound       Kind = "NotFound"       // name something that exists
	AlreadyExists  Kind = "AlreadyExists"  // choose another name
	Conflict       Kind = "Conflict"       // read the present state, then decide anew
	Denied         Kind = "Denied"         // bring a credential, or a wider permission
	Exhausted      Kind = "Exhausted"      // wait, or ask for less
	Unavailable    Kind = "Unavailable"    // repeat later
	OutOfRange     Kind = "OutOfRange"     // start again from a readable position
	Corrupt        Kind = "Corrupt"        // ask the operator
	Unsupported    Kind = "Unsupported"    // do not ask this daemon
)

// Error returns the kind's name.
func (k Kind) Error() string { return string(k) }

// A Fault is one field of a request that is missing or not valid.
type Fault struct {
	Field       string // its path, such as run.budget.max_turns
	Description string // what is wrong with it, for people
}

// An Error is why a request failed. Get it with errors.As, or ask for its kind with errors.Is.
type Error struct {
	Kind     Kind
	Reason   agentdv1.ErrorReason
	Code     codes.Code
	Message  string // for people; its wording may change
	Metadata map[string]string
	Faults   []Fault
	// RetryAfter is how long the daemon asks to wait before a repeat; nil when it does not say.
	RetryAfter *time.Duration
}

// Error returns the reason and the message.
func (e *Error) Error() string { return ReasonName(e.Reason) + ": " + e.Message }

// Is tells whether the target is the error's kind.
func (e *Error) Is(target error) bool { return target == error(e.Kind) }

// GRPCStatus returns the error's code and message, for status.Code.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// ReasonName returns a reason without its prefix, such as RUN_NOT_FOUND.
func ReasonName(reason agentdv1.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), reasonPrefix)
}

type meaning struct {
	kind   Kind
	reason agentdv1.ErrorReason
}

// What each code means when the error carries no ErrorInfo that this client knows.
var meanings = map[codes.Code]meaning{
	codes.Canceled:           {Unavailable, agentdv1.ErrorReason_ERROR_REASON_UNREACHABLE},
	codes.Unknown:            {Corrupt, agentdv1.ErrorReason_ERROR_REASON_INTERNAL},
	codes.InvalidArgument:    {InvalidRequest, agentdv1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST},
	codes.DeadlineExceeded:   {Unavailable, agentdv1.ErrorReason_ERROR_REASON_UNREACHABLE},
	codes.NotFound:           {NotFound, agentdv1.ErrorReason_ERROR_REASON_INTERNAL},
	codes.AlreadyExists:      {AlreadyExists, agentdv1.ErrorReason_ERROR_REASON_NAME_TAKEN},
	codes.PermissionDenied:   {Denied, agentdv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED},
	codes.ResourceExhausted:  {Exhausted, agentdv1.ErrorReason_ERROR_REASON_LIMIT_REACHED},
	codes.FailedPrecondition: {Conflict, agentdv1.ErrorReason_ERROR_REASON_INTERNAL},
	codes.Aborted:            {Conflict, agentdv1.ErrorReason_ERROR_REASON_CONCURRENT_UPDATE},
	codes.OutOfRange:         {OutOfRange, agentdv1.ErrorReason_ERROR_REASON_INTERNAL},
	codes.Unimplemented:      {Unsupported, agentdv1.ErrorReason_ERROR_REASON_NOT_IMPLEMENTED},
	codes.Internal:           {Corrupt, agentdv1.ErrorReason_ERROR_REASON_INTERNAL},
	codes.Unavailable:        {Unavailable, agentdv1.ErrorReason_ERROR_REASON_UNREACHABLE},
	codes.DataLoss:           {Corrupt, agentdv1.ErrorReason_ERROR_REASON_JOURNAL_CORRUPT},
	codes.Unauthenticated:    {Denied, agentdv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED},
}

// convert returns what a caller sees of a failure: the context's own error if the caller cancelled,
// else an *Error. The end of a stream and nil pass.
func convert(ctx context.Context, err error, address string) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failure := status.Convert(err)
	// The daemon keeps the caller's deadline too, and may notice it a moment before we do.
	end, bounded := ctx.Deadline()
	if bounded && failure.Code() == codes.DeadlineExceeded && time.Until(end) < time.Second {
		return context.DeadlineExceeded
	}
	return fromStatus(failure, address)
}

func fromStatus(s *status.Status, address string) *Error {
	means, known := meanings[s.Code()]
	if !known {
		means = meanings[codes.Unknown]
	}
	e := &Error{Kind: means.kind, Reason: means.reason, Code: s.Code(), Message: s.Message(), Metadata: map[string]string{}}
	informed := false
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			informed = true
			e.inform(detail)
		case *errdetails.BadRequest:
			for _, fault := range detail.GetFieldViolations() {
				e.Faults = append(e.Faults, Fault{fault.GetField(), fault.GetDescription()})
			}
		case *errdetails.RetryInfo:
			delay := detail.GetRetryDelay().AsDuration()
			e.RetryAfter = &delay
		}
	}
	if !informed && e.Kind == Unavailable {
		e.Message = fmt.Sprintf("no answer from %s: %s", address, e.Message)
	}
	return e
}

func (e *Error) inform(info *errdetails.ErrorInfo) {
	if info.GetDomain() != errorDomain {
		return
	}
	maps.Copy(e.Metadata, info.GetMetadata())
	if number, known := agentdv1.ErrorReason_value[reasonPrefix+info.GetReason()]; known && number != 0 {
		e.Reason = agentdv1.ErrorReason(number)
	} else {
		e.Metadata["reason"] = info.GetReason()
	}
}

// localError returns an error that the client itself found.
func localError(kind Kind, reason agentdv1.ErrorReason, message string) *Error {
	code := map[Kind]codes.Code{
		InvalidRequest: codes.InvalidArgument, Unavailable: codes.Unavailable, Corrupt: codes.DataLoss,
	}[kind]
	return &Error{Kind: kind, Reason: reason, Code: code, Message: message, Metadata: map[string]string{}}
}

func invalidField(field, description string) *Error {
	e := localError(InvalidRequest, agentdv1.ErrorReason_ERROR_REASON_INVALID_FIELD, field+": "+description)
	e.Metadata["field"] = field
	e.Faults = []Fault{{field, description}}
	return e
}

func unreachable(message string) *Error {
	return localError(Unavailable, agentdv1.ErrorReason_ERROR_REASON_UNREACHABLE, message)
}
