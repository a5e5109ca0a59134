package agentd

import (
	"context"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

const (
	longestWait = time.Minute
	answerTime  = 15 * time.Second
)

type pageRequest interface {
	proto.Message
	GetPageToken() string
}

type pageResponse interface {
	proto.Message
	GetNextPageToken() string
}

// Pages calls a List method for one page after another, from the request's page on:
//
//	for page, err := range agentd.Pages(ctx, client.Runs.ListRuns, &agentdv1.ListRunsRequest{}) { ... }
//
// An error ends the iteration.
func Pages[Request pageRequest, Response pageResponse](
	ctx context.Context, list func(context.Context, Request, ...grpc.CallOption) (Response, error), request Request,
) iter.Seq2[Response, error] {
	return func(yield func(Response, error) bool) {
		page := proto.Clone(request).(Request)
		token := page.ProtoReflect().Descriptor().Fields().ByName("page_token")
		for {
			answer, err := list(ctx, page)
			if !yield(answer, err) || err != nil || answer.GetNextPageToken() == "" {
				return
			}
			page.ProtoReflect().Set(token, protoreflect.ValueOfString(answer.GetNextPageToken()))
		}
	}
}

// Wait waits until a run has ended or the timeout has passed, and returns the run as it is then.
func (c *Client) Wait(ctx context.Context, run string, timeout time.Duration) (*agentdv1.Run, error) {
	end := time.Now().Add(timeout)
	for {
		patience := max(0, min(time.Until(end), longestWait))
		request := &agentdv1.WaitRunRequest{Name: run, Timeout: durationpb.New(patience)}
		answer, err := c.Runs.WaitRun(ctx, request)
		if err != nil || Ended(answer.GetRun().GetState()) || !time.Now().Before(end) {
			return answer.GetRun(), err
		}
	}
}
