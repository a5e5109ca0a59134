package agentd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

const (
	registerTime    = 30 * time.Second
	defaultDrain    = 10 * time.Second
	stopTime        = 2 * time.Second
	defaultCapacity = 16
)

// HostOptions say what a Host offers.
type HostOptions struct {
	Toolset string // its id, without toolsets/
	Tools   []Tool
	// ID is the host's id, kept over restarts of this program; without one, an id is made.
	ID       string
	Capacity int           // the most calls at once; 0: 16
	Drain    time.Duration // how long calls in progress may take to end at Close; 0: 10 s
	Logger   *slog.Logger  // nil: nothing is logged
}

// A Host offers functions of this process as tools, and executes the calls that it is given. A cut
// stream is opened again for as long as it takes: leases outlive the stream and the daemon, so what
// runs goes on, and outcomes are reported until the daemon answers.
type Host struct {
	client   *Client
	options  HostOptions
	idIsOurs bool
	tools    map[string]*Tool
	reports  *reports
	log      *slog.Logger

	ctx        context.Context // of everything but the stream; ends last
	cancel     context.CancelFunc
	leave      context.CancelFunc // closes the stream
	registered chan struct{}
	done       chan struct{}
	running    sync.WaitGroup // the loops, without the tools: these end in their own time

	once sync.Once
	err  error
}

// Host registers tools and executes their calls until Close. It returns when the daemon has welcomed
// the host: an error of kind InvalidRequest for tools that it refuses, Unavailable when it cannot be
// reached for 30 s. The context bounds the registration; its values reach the functions.
func (c *Client) Host(ctx context.Context, options HostOptions) (*Host, error) {
	h := newHost(ctx, c, options)
	streams, leave := context.WithCancel(h.ctx)
	h.leave = leave
	h.start(func() error { return h.follow(streams) })
	h.start(func() error { return h.reports.sendOutcomes(h.ctx) })
	h.start(func() error { h.reports.sendNotes(h.ctx); return nil })
	timer := time.NewTimer(registerTime)
	defer timer.Stop()
	select {
	case <-h.registered:
		h.start(func() error { h.reports.extendLeases(h.ctx); return nil })
		return h, nil
	case <-h.done:
		return nil, h.err
	case <-ctx.Done():
		h.end(ctx.Err())
	case <-timer.C:
		h.end(unreachable("the daemon does not register tools"))
	}
	h.running.Wait()
	return nil, h.err
}

func newHost(ctx context.Context, c *Client, options HostOptions) *Host {
	options.Toolset = strings.TrimPrefix(options.Toolset, "toolsets/")
	h := &Host{client: c, idIsOurs: options.ID == "", tools: map[string]*Tool{}, log: options.Logger}
	if h.idIsOurs {
		options.ID = "host-" + randomHex()
	}
	if options.Capacity == 0 {
		options.Capacity = defaultCapacity
	}
	if options.Drain == 0 {
		options.Drain = defaultDrain
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.options = options
	for i := range options.Tools {
		h.tools[options.Tools[i].manifest(options.Toolset).GetName()] = &options.Tools[i]
	}
	h.reports = newReports(c, h.log)
	h.ctx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	h.registered, h.done = make(chan struct{}), make(chan struct{})
	return h
}

// ID returns the host's id.
func (h *Host) ID() string { return h.options.ID }

// Done returns a channel that is closed when the host has ended, by Close or by itself.
func (h *Host) Done() <-chan struct{} { return h.done }

// Err returns why the host ended by itself: Conflict (HOST_REPLACED) when another process has its
// id, Denied, or Unavailable when the client was closed. It is nil before the end and after Close.
func (h *Host) Err() error {
	select {
	case <-h.done:
		return h.err
	default:
		return nil
	}
}

// Close takes no more calls, lets those in progress end, then asks them to stop. It returns Err. A
// function that does not stop goes on; its lease ends by itself.
func (h *Host) Close() error {
	h.leave()
	h.within(h.options.Drain)
	h.reports.stopAll("its host goes down")
	h.within(stopTime)
	h.end(nil)
	h.running.Wait()
	return h.err
}

// within waits until nothing is active, but not longer.
func (h *Host) within(patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-h.reports.whenIdle():
	case <-h.done:
	case <-timer.C:
	}
}

func (h *Host) start(loop func() error) {
	h.running.Add(1)
	go func() {
		defer h.running.Done()
		if err := loop(); err != nil {
			h.end(err)
		}
	}()
}

// end ends everything, once.
func (h *Host) end(err error) {
	h.once.Do(func() {
		h.err = err
		h.leave()
		h.cancel()
		close(h.done)
	})
}

// follow does what the daemon says, over one stream after another.
func (h *Host) follow(ctx context.Context) error {
	pauses := h.client.settings.retry.pauses()
	for {
		err := h.obeyStream(ctx, func() { pauses = h.client.settings.retry.pauses() })
		if ctx.Err() != nil {
			return nil
		}
		pause := pauses.next()
		var failure *Error
		if errors.As(err, &failure) {
			if endsHost(failure) || h.client.closed.Load() {
				return failure
			}
			if failure.RetryAfter != nil {
				pause += *failure.RetryAfter
			}
		}
		h.log.Info("connecting again", "host", h.options.ID, "error", err)
		if sleep(ctx, pause) != nil {
			return nil
		}
	}
}

func endsHost(failure *Error) bool {
	return failure.Reason == agentdv1.ErrorReason_ERROR_REASON_HOST_REPLACED ||
		failure.Kind == InvalidRequest || failure.Kind == Denied || failure.Kind == Unsupported
}

func (h *Host) obeyStream(ctx context.Context, heard func()) error {
	request := &agentdv1.WatchCallsRequest{
		Host: h.options.ID, Toolset: "toolsets/" + h.options.Toolset, Capacity: int32(h.options.Capacity),
	}
	for _, tool := range h.options.Tools {
		request.Tools = append(request.Tools, tool.manifest(h.options.Toolset))
	}
	stream, err := h.client.ToolHosts.WatchCalls(ctx, request)
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return unreachable("the daemon ended the stream")
		}
		if err != nil {
			return err
		}
		heard()
		for _, instruction := range message.GetInstructions() {
			h.obey(instruction)
		}
	}
}

func (h *Host) obey(instruction *agentdv1.HostInstruction) {
	switch told := instruction.GetInstruction().(type) {
	case *agentdv1.HostInstruction_Welcome:
		h.reports.leaseIs(told.Welcome.GetLeaseDuration().AsDuration())
		for _, lease := range told.Welcome.GetLeases() {
			h.readopt(lease)
		}
		select {
		case <-h.registered:
		default:
			close(h.registered)
		}
	case *agentdv1.HostInstruction_Invoke:
		h.begin(told.Invoke)
	case *agentdv1.HostInstruction_Cancel:
		h.stopCall(told.Cancel)
	case *agentdv1.HostInstruction_Drain:
		h.log.Info("the daemon goes down; calls in progress go on")
	default: // A kind that a newer daemon knows is ignored, as the contract says.
	}
}

func (h *Host) stopCall(cancel *agentdv1.Cancellation) {
	r := h.reports
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.active[key{cancel.GetCall(), cancel.GetAttempt()}]; e != nil {
		reason := cancel.GetReason()
		if reason == "" {
			reason = "the call was cancelled"
		}
		e.stop(reason)
	}
}

// readopt goes on with a lease from before this stream. Under an id that this object made, an EXECUTE
// that never came here was never executed, so it begins now. Under an id given from outside, an
// earlier process may have begun it.
func (h *Host) readopt(lease *agentdv1.Invocation) {
	r := h.reports
	r.mu.Lock()
	_, known := r.active[keyOf(lease)]
	if known = known || r.ended.has(keyOf(lease)); known || h.idIsOurs || lease.GetKind() != kindExecute {
		r.mu.Unlock()
		h.begin(lease)
		return
	}
	defer r.mu.Unlock()
	e := newExecution(h.ctx, lease)
	e.completion = addressed(unknown("the host "+h.options.ID+" was restarted"), lease)
	r.add(e)
	r.send(e)
}

func (h *Host) begin(invocation *agentdv1.Invocation) {
	r := h.reports
	k := keyOf(invocation)
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.active[k]; e != nil && e.answers(invocation) {
		e.adopt(invocation)
		return
	}
	if r.late.has(k) && r.late.values[k].answers(invocation) {
		e := r.late.take(k)
		e.adopt(invocation)
		r.add(e)
		r.send(e)
		return
	}
	if invocation.GetKind() == kindExecute && r.ended.has(k) {
		return // Its outcome was reported while this message was under way.
	}
	e := newExecution(h.ctx, invocation)
	r.add(e)
	go h.execute(e, invocation)
}

func (h *Host) execute(e *execution, invocation *agentdv1.Invocation) {
	k := keyOf(invocation)
	call := newCall(invocation, func(message string, fraction float64) { h.reports.note(k, message, fraction) })
	completion := outcome(e.ctx, h.tools[invocation.GetTool()], invocation, call)
	h.reports.mu.Lock()
	defer h.reports.mu.Unlock()
	e.completion = addressed(completion, e.invocation)
	h.reports.send(e)
}
