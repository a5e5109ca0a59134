package agentd

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

const (
	batchCount    = 1000    // the most reports of one request, as the contract says
	batchBytes    = 1 << 20 // where a batch of completions ends; a single larger one is sent alone
	notesInterval = 100 * time.Millisecond
	noteBytes     = 4096
	endedCount    = 10_000 // how many ended attempts are remembered, so that none is executed again
	lateCount     = 100    // how many outcomes that came too late are kept, in case they are asked for
	defaultLease  = 30 * time.Second
)

type note struct {
	message  string
	fraction float64
}

// Reports hold the attempts that a host has, and report on them.
type reports struct {
	client *Client
	log    *slog.Logger

	mu      sync.Mutex
	active  map[key]*execution // every attempt whose outcome does not count yet
	idle    chan struct{}      // closed while nothing is active
	ended   memory[struct{}]
	late    memory[*execution]
	outbox  []*execution
	notes   map[key]note
	lease   time.Duration
	toSend  chan struct{} // holds one when the outbox has something new
	toNote  chan struct{} // likewise for the notes
	renewed chan struct{} // likewise for the length of a lease
}

func newReports(client *Client, log *slog.Logger) *reports {
	idle := make(chan struct{})
	close(idle)
	return &reports{
		client:  client,
		log:     log,
		active:  map[key]*execution{},
		idle:    idle,
		ended:   newMemory[struct{}](endedCount),
		late:    newMemory[*execution](lateCount),
		notes:   map[key]note{},
		lease:   defaultLease,
		toSend:  make(chan struct{}, 1),
		toNote:  make(chan struct{}, 1),
		renewed: make(chan struct{}, 1),
	}
}

func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

func (r *reports) add(e *execution) {
	if len(r.active) == 0 {
		r.idle = make(chan struct{})
	}
	r.active[keyOf(e.invocation)] = e
}

func (r *reports) send(e *execution) {
	if !e.queued {
		e.queued = true
		r.outbox = append(r.outbox, e)
	}
	signal(r.toSend)
}

func (r *reports) remove(e *execution) {
	k := keyOf(e.invocation)
	e.queued = false
	e.cancel(nil)
	r.ended.put(k, struct{}{})
	if r.active[k] != e { // A probe of the same attempt has its place.
		return
	}
	delete(r.active, k)
	delete(r.notes, k)
	if len(r.active) == 0 {
		close(r.idle)
	}
}

// whenIdle returns a channel that is closed once nothing is active.
func (r *reports) whenIdle() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.idle
}

func (r *reports) stopAll(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.active {
		e.stop(reason)
	}
}

func (r *reports) leaseIs(lease time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease = lease
	signal(r.renewed)
}

func (r *reports) note(k key, message string, fraction float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[k] != nil {
		r.notes[k] = note{cutText(message), fraction}
		signal(r.toNote)
	}
}

// cutText returns a text of at most noteBytes that is UTF-8.
func cutText(text string) string {
	if len(text) > noteBytes {
		end := noteBytes
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return validText(text)
}

// sendOutcomes reports outcomes in batches: whatever is waiting, at once. It ends with the context,
// or with an error that no repeat will help against.
func (r *reports) sendOutcomes(ctx context.Context) error {
	pauses := r.client.settings.retry.pauses()
	for {
		batch, sent := r.batch()
		if len(batch) == 0 {
			select {
			case <-r.toSend:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := r.sendBatch(ctx, batch, sent)
		var failure *Error
		switch {
		case err == nil:
			pauses = r.client.settings.retry.pauses()
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &failure) && (failure.Kind == Denied || failure.Kind == Unsupported), r.client.closed.Load():
			return err
		default:
			r.log.Debug("outcomes are kept until the daemon takes them", "error", err)
			if sleep(ctx, pauses.next()) != nil {
				return nil
			}
		}
	}
}

// batch returns what is to be sent next: some executions with their completions.
func (r *reports) batch() ([]*execution, []*agentdv1.Completion) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := r.outbox[:0]
	for _, e := range r.outbox {
		if e.queued {
			waiting = append(waiting, e)
		}
	}
	clear(r.outbox[len(waiting):])
	r.outbox = waiting
	var batch []*execution
	var sent []*agentdv1.Completion
	size := 0
	for _, e := range waiting {
		size += proto.Size(e.completion)
		if len(batch) == batchCount || (len(batch) > 0 && size > batchBytes) {
			break
		}
		batch, sent = append(batch, e), append(sent, e.completion)
	}
	return batch, sent
}

func (r *reports) sendBatch(ctx context.Context, batch []*execution, sent []*agentdv1.Completion) error {
	answer, err := r.client.ToolHosts.CompleteCalls(ctx, &agentdv1.CompleteCallsRequest{Completions: sent})
	var failure *Error
	if errors.As(err, &failure) && isTooMuch(failure) {
		return r.sendSmaller(ctx, batch, sent, failure)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, status := range answer.GetStatuses()[:min(len(batch), len(answer.GetStatuses()))] {
		r.answered(batch[i], sent[i], status)
	}
	return nil
}

// sendSmaller finds the completion that the daemon refuses, and reports a failure in its place.
func (r *reports) sendSmaller(ctx context.Context, batch []*execution, sent []*agentdv1.Completion, failure *Error) error {
	if len(batch) == 1 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refused(batch[0], sent[0], failure.Error())
		return nil
	}
	for i := range batch {
		if err := r.sendBatch(ctx, batch[i:i+1], sent[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *reports) answered(e *execution, sent *agentdv1.Completion, status *agentdv1.LeaseStatus) {
	switch status.GetResult() {
	case agentdv1.LeaseResult_LEASE_RESULT_INVALID:
		r.refused(e, sent, "the daemon refused the result as not valid")
		return
	case agentdv1.LeaseResult_LEASE_RESULT_STALE_LEASE, agentdv1.LeaseResult_LEASE_RESULT_NOT_FOUND:
		if e.completion != sent {
			return // The lease was given anew while the report was under way: send it again.
		}
		r.log.Warn("an outcome came too late, and is kept as evidence", "call", sent.GetCall())
		r.late.put(keyOf(e.invocation), e)
	}
	r.remove(e)
}

func (r *reports) refused(e *execution, sent *agentdv1.Completion, why string) {
	if _, isFailure := sent.GetOutcome().(*agentdv1.Completion_ErrorMessage); isFailure {
		r.log.Error("the daemon does not take an outcome", "call", sent.GetCall(), "error", why)
		r.remove(e)
		return
	}
	e.completion = addressed(failed(why), e.invocation)
}

func isTooMuch(failure *Error) bool {
	if failure.Kind == Exhausted {
		// gRPC itself refuses a message above its limit, without a reason of ours.
		tooLarge := failure.Reason == agentdv1.ErrorReason_ERROR_REASON_TOO_LARGE ||
			failure.Reason == agentdv1.ErrorReason_ERROR_REASON_LIMIT_REACHED
		return tooLarge && failure.RetryAfter == nil
	}
	return failure.Kind == InvalidRequest
}

// sendNotes sends the newest note of each attempt, at most ten times a second.
func (r *reports) sendNotes(ctx context.Context) {
	for {
		select {
		case <-r.toNote:
		case <-ctx.Done():
			return
		}
		notes := r.takeNotes()
		for len(notes) > 0 {
			some := notes[:min(batchCount, len(notes))]
			notes = notes[len(some):]
			if _, err := r.client.ToolHosts.ReportProgress(ctx, &agentdv1.ReportProgressRequest{Reports: some}); err != nil {
				r.log.Debug("progress was not reported", "error", err) // A lost note is not worth repeating.
			}
		}
		if sleep(ctx, notesInterval) != nil {
			return
		}
	}
}

func (r *reports) takeNotes() []*agentdv1.ProgressReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	var notes []*agentdv1.ProgressReport
	for k, note := range r.notes {
		if e := r.active[k]; e != nil {
			notes = append(notes, &agentdv1.ProgressReport{
				Call: k.call, Attempt: k.attempt, LeaseToken: e.invocation.GetLeaseToken(), Message: note.message, Fraction: note.fraction,
			})
		}
	}
	clear(r.notes)
	return notes
}

// extendLeases extends the leases of every attempt at a third of their length.
func (r *reports) extendLeases(ctx context.Context) {
	timer := time.NewTimer(defaultLease / 3)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			held := r.held()
			for len(held) > 0 {
				some := held[:min(batchCount, len(held))]
				held = held[len(some):]
				r.extend(ctx, some)
			}
		case <-r.renewed:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		timer.Reset(r.lease / 3)
		r.mu.Unlock()
	}
}

func (r *reports) held() []*execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := make([]*execution, 0, len(r.active))
	for _, e := range r.active {
		held = append(held, e)
	}
	return held
}

func (r *reports) extend(ctx context.Context, held []*execution) {
	leases := make([]*agentdv1.LeaseExtension, len(held))
	r.mu.Lock()
	for i, e := range held {
		leases[i] = &agentdv1.LeaseExtension{
			Call: e.invocation.GetCall(), Attempt: e.invocation.GetAttempt(), LeaseToken: e.invocation.GetLeaseToken(),
		}
	}
	r.mu.Unlock()
	answer, err := r.client.ToolHosts.ExtendLeases(ctx, &agentdv1.ExtendLeasesRequest{Leases: leases})
	if err != nil { // The lease outlives the daemon: what runs, runs on.
		r.log.Debug("leases were not extended", "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, status := range answer.GetStatuses()[:min(len(held), len(answer.GetStatuses()))] {
		gone := status.GetResult() == agentdv1.LeaseResult_LEASE_RESULT_STALE_LEASE ||
			status.GetResult() == agentdv1.LeaseResult_LEASE_RESULT_NOT_FOUND
		if gone && held[i].completion == nil && held[i].invocation.GetLeaseToken() == leases[i].GetLeaseToken() {
			held[i].stop("its lease has ended")
		}
	}
}

// A memory keeps the newest values.
type memory[V any] struct {
	values map[key]V
	order  []key
	limit  int
}

func newMemory[V any](limit int) memory[V] { return memory[V]{values: map[key]V{}, limit: limit} }

func (m *memory[V]) put(k key, value V) {
	if _, known := m.values[k]; !known {
		m.order = append(m.order, k)
	}
	m.values[k] = value
	if len(m.order) > m.limit {
		delete(m.values, m.order[0])
		m.order = m.order[1:]
	}
}

func (m *memory[V]) has(k key) bool {
	_, known := m.values[k]
	return known
}

func (m *memory[V]) take(k key) V {
	value := m.values[k]
	if m.has(k) {
		delete(m.values, k)
		for i, other := range m.order {
			if other == k {
				m.order = append(m.order[:i], m.order[i+1:]...)
				break
			}
		}
	}
	return value
}
