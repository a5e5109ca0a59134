package agentd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A RetryPolicy says how often and how soon a failed request is repeated.
type RetryPolicy struct {
	Attempts   int // the most attempts of one request, the first included
	FirstDelay time.Duration
	MaxDelay   time.Duration // the longest pause; a daemon that asks for a longer one is not asked again
}

// DefaultRetry is the policy without WithRetry.
var DefaultRetry = RetryPolicy{Attempts: 4, FirstDelay: 100 * time.Millisecond, MaxDelay: 2 * time.Second}

// pauses are random lengths, each up to a bound that doubles.
type pauses struct {
	policy RetryPolicy
	bound  time.Duration
}

func (p RetryPolicy) pauses() *pauses { return &pauses{policy: p, bound: p.FirstDelay} }

func (p *pauses) next() time.Duration {
	pause := time.Duration(0)
	if p.bound > 0 {
		pause = mathrand.N(p.bound + 1)
	}
	p.bound = min(p.bound*2, p.policy.MaxDelay)
	return pause
}

// pauseAfter returns how long to wait before a repeat that may help, and whether one may.
func (p RetryPolicy) pauseAfter(err *Error, pause time.Duration) (time.Duration, bool) {
	if err.RetryAfter != nil {
		return *err.RetryAfter + pause, *err.RetryAfter <= p.MaxDelay
	}
	return pause, err.Kind == Unavailable
}

var repeatable = map[string]bool{
	"PauseRun": true, "CancelRun": true, "CompleteCalls": true, "ReportProgress": true, "ExtendLeases": true, "Drain": true,
}

var reads = []string{"Get", "List", "Search", "Wait"}

// isRepeatable tells whether asking twice has the effect of asking once.
func isRepeatable(method string, takesRequestID bool) bool {
	name := method[strings.LastIndex(method, "/")+1:]
	if takesRequestID || repeatable[name] {
		return true
	}
	for _, prefix := range reads {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// unary is the interceptor of every method that answers once.
func (s settings) unary(
	parent context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	ctx := s.outgoing(parent)
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeoutOf(request))
		defer cancel()
	}
	end, _ := ctx.Deadline()
	request, takesRequestID := withRequestID(request)
	attempts := 1
	if isRepeatable(method, takesRequestID) {
		attempts = s.retry.Attempts
	}
	for pauses := s.retry.pauses(); ; attempts-- {
		err := convert(parent, invoke(ctx, method, request, reply, conn, options...), s.address)
		var failure *Error
		if !errors.As(err, &failure) {
			return err
		}
		pause, helps := s.retry.pauseAfter(failure, pauses.next())
		if attempts <= 1 || !helps || time.Until(end) <= pause {
			return err
		}
		if sleep(parent, pause) != nil {
			return parent.Err()
		}
	}
}

// stream is the interceptor of every method that answers with a stream.
func (s settings) stream(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	opened, err := open(s.outgoing(ctx), desc, conn, method, options...)
	if err != nil {
		return nil, convert(ctx, err, s.address)
	}
	return &stream{opened, ctx, s.address}, nil
}

// A stream turns the errors of gRPC's own into ours.
type stream struct {
	grpc.ClientStream
	ctx     context.Context
	address string
}

func (s *stream) SendMsg(message any) error {
	return convert(s.ctx, s.ClientStream.SendMsg(message), s.address)
}

func (s *stream) RecvMsg(message any) error {
	return convert(s.ctx, s.ClientStream.RecvMsg(message), s.address)
}

func (s settings) outgoing(ctx context.Context) context.Context {
	if s.namespace != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "agentd-namespace", s.namespace)
	}
	if s.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.token)
	}
	return ctx
}

// timeoutOf returns how long a request may take: the daemon takes its time where the request says so.
func timeoutOf(request any) time.Duration {
	waiting, waits := request.(interface{ GetTimeout() *durationpb.Duration })
	switch {
	case !waits:
		return DefaultTimeout
	case waiting.GetTimeout() == nil:
		return longestWait + answerTime
	default:
		return waiting.GetTimeout().AsDuration() + answerTime
	}
}

// withRequestID returns the request with a request id, and whether it takes one. The caller's
// message is not changed.
func withRequestID(request any) (any, bool) {
	message, ok := request.(proto.Message)
	if !ok {
		return request, false
	}
	field := message.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if field == nil {
		return request, false
	}
	if message.ProtoReflect().Get(field).String() != "" {
		return request, true
	}
	filled := proto.Clone(message)
	filled.ProtoReflect().Set(field, protoreflect.ValueOfString(randomHex()))
	return filled, true
}

func randomHex() string {
	var bytes [16]byte
	_, _ = rand.Read(bytes[:]) // It never fails: it would end the program.
	return hex.EncodeToString(bytes[:])
}
