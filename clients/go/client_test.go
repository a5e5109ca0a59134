package agentd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

func TestAddresses(t *testing.T) {
	for given, want := range map[string]string{
		"unix:/run/a.sock": "unix:/run/a.sock", "unix:///run/a.sock": "unix:/run/a.sock", " /run/a.sock": "unix:/run/a.sock",
		"localhost:7431": "localhost:7431", "[::1]:50051": "[::1]:50051",
	} {
		if got, _, err := parseAddress(given); err != nil || got != want {
			t.Errorf("%q is %q, %v", given, got, err)
		}
	}
	for _, given := range []string{"", "unix:", "unix:relative", "localhost", "localhost:", "localhost:0", "localhost:65536", "a/b:1", ":1"} {
		_, err := Connect(given)
		var failure *Error
		if !errors.As(err, &failure) || failure.Reason != agentdv1.ErrorReason_ERROR_REASON_INVALID_FIELD || failure.Faults[0].Field != "address" {
			t.Errorf("%q gave %v", given, err)
		}
	}
}

func TestATokenFileIsStrippedAndSent(t *testing.T) {
	s, client := serve(t)
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(" secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := Connect(client.Address(), WithTokenFile(path), WithNamespace("blue"))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	s.getInfo = func(ctx context.Context) (*agentdv1.GetInfoResponse, error) {
		md := headers(ctx)
		return &agentdv1.GetInfoResponse{Version: md.Get("authorization")[0] + " " + md.Get("agentd-namespace")[0]}, nil
	}
	if info, err := second.System.GetInfo(t.Context(), &agentdv1.GetInfoRequest{}); err != nil || info.GetVersion() != "Bearer secret blue" {
		t.Error(info, err)
	}
	for _, bad := range []string{filepath.Join(t.TempDir(), "none"), os.DevNull} {
		_, err := Connect(client.Address(), WithTokenFile(bad))
		var failure *Error
		if !errors.As(err, &failure) || failure.Reason != agentdv1.ErrorReason_ERROR_REASON_INVALID_CONFIG {
			t.Errorf("%s gave %v", bad, err)
		}
	}
}

func TestWhatTheCallerCancelsIsNotOurs(t *testing.T) {
	s, client := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.getInfo = func(served context.Context) (*agentdv1.GetInfoResponse, error) {
		cancel()
		<-served.Done()
		return nil, served.Err()
	}
	if _, err := client.System.GetInfo(ctx, &agentdv1.GetInfoRequest{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := client.System.GetInfo(short, &agentdv1.GetInfoRequest{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestOnlyWhatMayBeRepeatedIs(t *testing.T) {
	s, client := serve(t)
	asked := 0
	failing := refusal(codes.Unavailable, "DRAINING")
	s.getInfo = func(context.Context) (*agentdv1.GetInfoResponse, error) { asked++; return nil, failing }
	s.resume = func(context.Context) error { asked++; return failing }
	if _, err := client.System.GetInfo(t.Context(), &agentdv1.GetInfoRequest{}); !errors.Is(err, Unavailable) || asked != 4 {
		t.Error(err, asked)
	}
	asked = 0
	if _, err := client.Runs.ResumeRun(t.Context(), &agentdv1.ResumeRunRequest{}); !errors.Is(err, Unavailable) || asked != 1 {
		t.Error(err, asked)
	}
}

func TestARequestIDIsMadeOnACopy(t *testing.T) {
	request := &agentdv1.CreateAgentRequest{Agent: &agentdv1.Agent{Name: "agents/a"}}
	filled, takes := withRequestID(request)
	if id := filled.(*agentdv1.CreateAgentRequest).GetRequestId(); !takes || len(id) != 32 || request.GetRequestId() != "" {
		t.Error(takes, id, request)
	}
	named := &agentdv1.CreateAgentRequest{RequestId: "mine"}
	if same, _ := withRequestID(named); same != named {
		t.Error("a request that has an id was changed")
	}
}

func TestARequestWithATimeoutMayTakeIt(t *testing.T) {
	for request, want := range map[any]time.Duration{
		&agentdv1.GetRunRequest{}:  30 * time.Second,
		&agentdv1.WaitRunRequest{}: 75 * time.Second,
	} {
		if got := timeoutOf(request); got != want {
			t.Errorf("%T has %s", request, got)
		}
	}
}

func TestWaitAsksUntilTheRunHasEnded(t *testing.T) {
	s, client := serve(t)
	states := []agentdv1.RunState{agentdv1.RunState_RUN_STATE_RUNNING, agentdv1.RunState_RUN_STATE_FAILED}
	s.waitRun = func(context.Context, *agentdv1.WaitRunRequest) (*agentdv1.WaitRunResponse, error) {
		state := states[0]
		states = states[1:]
		return &agentdv1.WaitRunResponse{Run: &agentdv1.Run{State: state}}, nil
	}
	run, err := client.Wait(t.Context(), "runs/a", time.Minute)
	if err != nil || run.GetState() != agentdv1.RunState_RUN_STATE_FAILED {
		t.Error(run, err)
	}
	states = []agentdv1.RunState{agentdv1.RunState_RUN_STATE_RUNNING}
	run, err = client.Wait(t.Context(), "runs/a", 0)
	if err != nil || run.GetState() != agentdv1.RunState_RUN_STATE_RUNNING {
		t.Error(run, err)
	}
}
