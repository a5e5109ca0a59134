// Package agentd is the Go client of agentd, a daemon that runs AI agents.
//
// Connect returns a Client. Its fields are the generated stubs of the contract: every method adds
// the credentials, a request id, a deadline, repeats where they are safe, and returns an *Error.
// Watch, Follow, Wait, Pages and Host are what takes more than one request.
package agentd

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

// DefaultTimeout bounds a request whose context has no deadline, repeats and pauses included. One that
// has a timeout of its own (WaitRun, CancelRun, Drain) may take that and 15 s more.
const DefaultTimeout = 30 * time.Second

// A Client is a connection to a daemon. It may be used from many goroutines at once.
type Client struct {
	Agents    agentdv1.AgentServiceClient
	Approvals agentdv1.ApprovalServiceClient
	Events    agentdv1.EventServiceClient
	Memories  agentdv1.MemoryServiceClient
	Runs      agentdv1.RunServiceClient
	Sessions  agentdv1.SessionServiceClient
	System    agentdv1.SystemServiceClient
	ToolHosts agentdv1.ToolHostServiceClient
	Tools     agentdv1.ToolServiceClient

	conn     *grpc.ClientConn
	settings settings
	closed   atomic.Bool
}

// Connect returns a client of the daemon at unix:/path or host:port.
//
// Nothing is dialled before the first request, which fails as Unavailable when nobody answers. An
// address or token that cannot be used is refused as InvalidRequest.
func Connect(address string, options ...Option) (*Client, error) {
	settings, err := newSettings(address, options)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(settings.target, settings.dialOptions()...)
	if err != nil {
		return nil, invalidField("address", err.Error())
	}
	return &Client{
		Agents:    agentdv1.NewAgentServiceClient(conn),
		Approvals: agentdv1.NewApprovalServiceClient(conn),
		Events:    agentdv1.NewEventServiceClient(conn),
		Memories:  agentdv1.NewMemoryServiceClient(conn),
		Runs:      agentdv1.NewRunServiceClient(conn),
		Sessions:  agentdv1.NewSessionServiceClient(conn),
		System:    agentdv1.NewSystemServiceClient(conn),
		ToolHosts: agentdv1.NewToolHostServiceClient(conn),
		Tools:     agentdv1.NewToolServiceClient(conn),
		conn:      conn,
		settings:  settings,
	}, nil
}

// Close closes the connection. Requests, watches and hosts end; runs go on.
func (c *Client) Close() error {
	c.closed.Store(true)
	return c.conn.Close()
}

// Address returns where the daemon is.
func (c *Client) Address() string { return c.settings.address }

// Ended tells whether a state of a run is terminal.
func Ended(state agentdv1.RunState) bool {
	switch state {
	case agentdv1.RunState_RUN_STATE_SUCCEEDED, agentdv1.RunState_RUN_STATE_FAILED,
		agentdv1.RunState_RUN_STATE_CANCELLED, agentdv1.RunState_RUN_STATE_ABANDONED:
		return true
	default:
		return false
	}
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
