package agentd

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

const patience = 10 * time.Second

// A server is a daemon whose answers a test scripts.
type server struct {
	agentdv1.UnimplementedEventServiceServer
	agentdv1.UnimplementedRunServiceServer
	agentdv1.UnimplementedSystemServiceServer
	agentdv1.UnimplementedToolHostServiceServer

	watch   func(*agentdv1.WatchRequest, grpc.ServerStreamingServer[agentdv1.WatchResponse]) error
	getInfo func(context.Context) (*agentdv1.GetInfoResponse, error)
	waitRun func(context.Context, *agentdv1.WaitRunRequest) (*agentdv1.WaitRunResponse, error)
	resume  func(context.Context) error

	mu            sync.Mutex
	lease         time.Duration
	leases        []*agentdv1.Invocation
	verdict       func(*agentdv1.Completion) agentdv1.LeaseResult
	leaseVerdict  agentdv1.LeaseResult
	refuse        func(*agentdv1.CompleteCallsRequest) error
	registrations chan *agentdv1.WatchCallsRequest
	instructions  chan *agentdv1.HostInstruction
	cuts          chan error
	completions   chan *agentdv1.Completion
	extensions    chan *agentdv1.LeaseExtension
	notes         chan *agentdv1.ProgressReport
}

func serve(t *testing.T) (*server, *Client) {
	t.Helper()
	s := &server{
		lease:         30 * time.Second,
		verdict:       func(*agentdv1.Completion) agentdv1.LeaseResult { return agentdv1.LeaseResult_LEASE_RESULT_OK },
		leaseVerdict:  agentdv1.LeaseResult_LEASE_RESULT_OK,
		registrations: make(chan *agentdv1.WatchCallsRequest, 100),
		instructions:  make(chan *agentdv1.HostInstruction, 100),
		cuts:          make(chan error),
		completions:   make(chan *agentdv1.Completion, 100),
		extensions:    make(chan *agentdv1.LeaseExtension, 100),
		notes:         make(chan *agentdv1.ProgressReport, 100),
	}
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := grpc.NewServer()
	agentdv1.RegisterEventServiceServer(served, s)
	agentdv1.RegisterRunServiceServer(served, s)
	agentdv1.RegisterSystemServiceServer(served, s)
	agentdv1.RegisterToolHostServiceServer(served, s)
	go served.Serve(listener)
	t.Cleanup(served.Stop)
	client, err := Connect("unix:"+path, WithRetry(RetryPolicy{Attempts: 4, FirstDelay: time.Millisecond, MaxDelay: 50 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return s, client
}

// refusal returns an error as agentd makes it.
func refusal(code codes.Code, reason string, more ...protoadapt.MessageV1) error {
	details := append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: errorDomain}}, more...)
	made, err := status.New(code, "no").WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return made.Err()
}

func (s *server) Watch(request *agentdv1.WatchRequest, stream grpc.ServerStreamingServer[agentdv1.WatchResponse]) error {
	return s.watch(request, stream)
}

func (s *server) GetInfo(ctx context.Context, _ *agentdv1.GetInfoRequest) (*agentdv1.GetInfoResponse, error) {
	return s.getInfo(ctx)
}

func (s *server) WaitRun(ctx context.Context, request *agentdv1.WaitRunRequest) (*agentdv1.WaitRunResponse, error) {
	return s.waitRun(ctx, request)
}

func (s *server) ResumeRun(ctx context.Context, _ *agentdv1.ResumeRunRequest) (*agentdv1.ResumeRunResponse, error) {
	return &agentdv1.ResumeRunResponse{}, s.resume(ctx)
}

func (s *server) WatchCalls(request *agentdv1.WatchCallsRequest, stream grpc.ServerStreamingServer[agentdv1.WatchCallsResponse]) error {
	s.mu.Lock()
	welcome := &agentdv1.HostWelcome{LeaseDuration: durationpb.New(s.lease), Leases: s.leases}
	s.mu.Unlock()
	send := func(instruction *agentdv1.HostInstruction) error {
		return stream.Send(&agentdv1.WatchCallsResponse{Instructions: []*agentdv1.HostInstruction{instruction}})
	}
	if err := send(&agentdv1.HostInstruction{Instruction: &agentdv1.HostInstruction_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	s.registrations <- request
	for {
		select {
		case instruction := <-s.instructions:
			if err := send(instruction); err != nil {
				return err
			}
		case err := <-s.cuts:
			return err
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (s *server) CompleteCalls(_ context.Context, request *agentdv1.CompleteCallsRequest) (*agentdv1.CompleteCallsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		if err := s.refuse(request); err != nil {
			return nil, err
		}
	}
	answer := &agentdv1.CompleteCallsResponse{}
	for _, completion := range request.GetCompletions() {
		answer.Statuses = append(answer.Statuses, &agentdv1.LeaseStatus{Call: completion.GetCall(), Result: s.verdict(completion)})
		s.completions <- completion
	}
	return answer, nil
}

func (s *server) ExtendLeases(_ context.Context, request *agentdv1.ExtendLeasesRequest) (*agentdv1.ExtendLeasesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &agentdv1.ExtendLeasesResponse{}
	for _, lease := range request.GetLeases() {
		answer.Statuses = append(answer.Statuses, &agentdv1.LeaseStatus{Call: lease.GetCall(), Result: s.leaseVerdict})
		s.extensions <- lease
	}
	return answer, nil
}

func (s *server) ReportProgress(_ context.Context, request *agentdv1.ReportProgressRequest) (*agentdv1.ReportProgressResponse, error) {
	answer := &agentdv1.ReportProgressResponse{}
	for _, report := range request.GetReports() {
		answer.Statuses = append(answer.Statuses, &agentdv1.LeaseStatus{Call: report.GetCall()})
		s.notes <- report
	}
	return answer, nil
}

// next returns what comes out of a channel, or fails the test.
func next[T any](t *testing.T, channel <-chan T) T {
	t.Helper()
	select {
	case value := <-channel:
		return value
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func headers(ctx context.Context) metadata.MD {
	md, _ := metadata.FromIncomingContext(ctx)
	return md
}
