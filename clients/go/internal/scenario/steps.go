package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	agentd "github.com/agentd/agentd/clients/go"
	"github.com/agentd/agentd/clients/go/agentdv1"
)

const patience = 20 * time.Second

// A watch that stays open between the steps.
type openWatch struct {
	next        func() (agentd.Item, error, bool)
	stop        func()
	interrupted bool
}

type runner struct {
	scenario  scenario
	place     place
	client    *agentd.Client
	host      *agentd.Host
	tools     *tools
	revisions map[string]int64
	watches   map[string]*openWatch
	stdin     *bufio.Reader
	steps     map[string]func(context.Context, step) error
}

func newRunner(played scenario, where place) (*runner, error) {
	r := &runner{
		scenario: played, place: where, tools: newTools(), revisions: map[string]int64{},
		watches: map[string]*openWatch{}, stdin: bufio.NewReader(os.Stdin),
	}
	r.steps = map[string]func(context.Context, step) error{
		"create_agent": r.createAgent, "host": r.offer, "create_run": r.createRun, "follow": r.follow, "began": r.began,
		"cue": r.cue, "release": r.release, "interrupted": r.interrupted, "wait": r.wait, "calls": r.calls,
		"executed": r.executed, "list_events": r.listEvents, "cancel": r.cancel, "watch_from": r.watchFrom,
		"errors": r.errors, "nobody": r.nobody, "decide": r.decide, "unhost": r.unhost, "close": r.close,
	}
	var err error
	r.client, err = r.connect(where.Address)
	return r, err
}

func (r *runner) connect(address string) (*agentd.Client, error) {
	if r.place.TokenFile == "" {
		return agentd.Connect(address)
	}
	return agentd.Connect(address, agentd.WithTokenFile(r.place.TokenFile))
}

func (r *runner) execute(ctx context.Context) error {
	for _, step := range r.scenario.Steps {
		if step.Requires != "" && !slices.Contains(r.place.Features, step.Requires) {
			continue
		}
		err := r.steps[step.Do](ctx, step)
		var refusal *agentd.Error
		if errors.As(err, &refusal) {
			say("refused %s %s", step.Do, errorWords(refusal))
		} else if err != nil {
			return fmt.Errorf("%s: %w", step.Do, err)
		}
	}
	return nil
}

func say(format string, arguments ...any) { fmt.Printf(format+"\n", arguments...) }

func (r *runner) createAgent(ctx context.Context, step step) error {
	spec := map[string]any{"name": step.Name, "instructions": step.Instructions, "tools": step.Tools}
	if len(step.Rules) > 0 {
		rules := slices.Clone(step.Rules)
		for i := range rules {
			rules[i].Decision = "DECISION_" + rules[i].Decision
		}
		spec["permissions"] = rules
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	agent := &agentdv1.Agent{}
	if err := protojson.Unmarshal(text, agent); err != nil {
		return err
	}
	created, err := r.client.Agents.CreateAgent(ctx, &agentdv1.CreateAgentRequest{Agent: agent})
	if err == nil {
		say("agent %s revision=%d", created.GetAgent().GetName(), created.GetAgent().GetRevision())
	}
	return err
}

func (r *runner) offer(ctx context.Context, step step) error {
	var specs []hostedTool
	if err := json.Unmarshal(step.Tools, &specs); err != nil {
		return err
	}
	options := agentd.HostOptions{Toolset: step.Toolset, ID: step.Host}
	var names []string
	for _, spec := range specs {
		options.Tools = append(options.Tools, r.tools.tool(spec, string(r.scenario.Schema)))
		names = append(names, step.Toolset+"/"+spec.Name)
	}
	var err error
	if r.host, err = r.client.Host(ctx, options); err == nil {
		say("hosting %s", strings.Join(names, ","))
	}
	return err
}

func (r *runner) createRun(ctx context.Context, step step) error {
	created, err := r.client.Runs.CreateRun(ctx, &agentdv1.CreateRunRequest{
		Run: &agentdv1.Run{Name: step.Name, Agent: step.Agent, Goal: step.Goal}, RequestId: step.RequestID,
	})
	if err == nil {
		r.revisions[created.GetRun().GetName()] = created.GetRevision()
		say("created %s", created.GetRun().GetName())
	}
	return err
}

func (r *runner) follow(ctx context.Context, step step) error {
	watch := r.watches[step.Run]
	if watch == nil {
		watch = &openWatch{}
		r.watches[step.Run] = watch
		items := r.client.Watch(agentd.WatchOptions{
			Filter:         &agentdv1.EventFilter{Runs: []string{step.Run}},
			AfterRevision:  r.revisions[step.Run],
			UntilEnded:     true,
			Sequences:      map[string]int64{step.Run: 0},
			OnInterruption: func(*agentd.Error) { watch.interrupted = true },
		}).Items(ctx)
		watch.next, watch.stop = iter.Pull2(items)
	}
	for {
		item, err, more := watch.next()
		if err != nil {
			return err
		}
		if !more && step.Until == "end" {
			return nil
		}
		if !more {
			return errors.New("the watch ended before " + step.Until)
		}
		say("%s", eventLine(item.Event))
		if kind(item.Event) == step.Until {
			return nil
		}
	}
}

func (r *runner) began(_ context.Context, step step) error {
	return r.tools.began(step.Tool, step.Count)
}

func (r *runner) cue(_ context.Context, step step) error {
	say("@%s", step.Word)
	if _, err := r.stdin.ReadString('\n'); err != nil {
		return err
	}
	say("cue %s", step.Word)
	return nil
}

func (r *runner) release(_ context.Context, step step) error {
	r.tools.release(step.Tool)
	return nil
}

func (r *runner) interrupted(_ context.Context, step step) error {
	say("interrupted %s %s", step.Run, yes(r.watches[step.Run].interrupted))
	return nil
}

func (r *runner) wait(ctx context.Context, step step) error {
	run, err := r.client.Wait(ctx, step.Run, patience)
	if err == nil {
		say("%s", runLine(run))
	}
	return err
}

func (r *runner) calls(ctx context.Context, step step) error {
	for page, err := range agentd.Pages(ctx, r.client.Runs.ListCalls, &agentdv1.ListCallsRequest{Parent: step.Run}) {
		if err != nil {
			return err
		}
		for _, call := range page.GetCalls() {
			say("%s", callLine(call))
		}
	}
	return nil
}

func (r *runner) executed(context.Context, step) error {
	r.tools.mu.Lock()
	defer r.tools.mu.Unlock()
	for _, begun := range r.tools.executions {
		say("executed %s call=%s attempt=%d item=%s", begun.tool, begun.call, begun.attempt, quoted(begun.item))
	}
	return nil
}

func (r *runner) listEvents(ctx context.Context, step step) error {
	request := &agentdv1.ListEventsRequest{Filter: &agentdv1.EventFilter{Runs: []string{step.Run}}, PageSize: step.PageSize}
	var sequences []string
	pages := 0
	for page, err := range agentd.Pages(ctx, r.client.Events.ListEvents, request) {
		if err != nil {
			return err
		}
		pages++
		for _, event := range page.GetEvents() {
			sequences = append(sequences, fmt.Sprint(event.GetSequence()))
		}
	}
	say("listed %s sequences=%s pages=%d", step.Run, strings.Join(sequences, ","), pages)
	return nil
}

func (r *runner) cancel(ctx context.Context, step step) error {
	answer, err := r.client.Runs.CancelRun(ctx, &agentdv1.CancelRunRequest{
		Name: step.Run, Reason: step.Reason, Timeout: durationpb.New(time.Duration(step.TimeoutMs) * time.Millisecond),
	})
	if err != nil {
		return err
	}
	report := answer.GetReport()
	say("cancelled %s state=%s complete=%s", report.GetRun(), value(report.GetState()), yes(report.GetComplete()))
	for _, entry := range report.GetEntries() {
		say("entry %s %s", entry.GetName(), value(entry.GetOutcome()))
	}
	return nil
}

func (r *runner) watchFrom(ctx context.Context, step step) error {
	for _, err := range r.client.Watch(agentd.WatchOptions{AfterRevision: step.AfterRevision}).Items(ctx) {
		if err != nil {
			return err
		}
		break
	}
	say("watched")
	return nil
}

func (r *runner) errors(ctx context.Context, step step) error {
	client, err := r.connect(r.place.ErrorsAddress)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, asked := range step.Cases {
		var failure *agentd.Error
		if err := ask(ctx, client, asked); !errors.As(err, &failure) {
			return fmt.Errorf("%s: %w", asked.ID, err)
		}
		say("%s", errorLine(asked.ID, failure))
	}
	return nil
}

func ask(ctx context.Context, client *agentd.Client, asked errorCase) error {
	name := "agents/" + asked.ID
	var err error
	switch asked.Method {
	case "delete":
		_, err = client.Agents.DeleteAgent(ctx, &agentdv1.DeleteAgentRequest{Name: name})
	case "create":
		_, err = client.Agents.CreateAgent(ctx, &agentdv1.CreateAgentRequest{Agent: &agentdv1.Agent{Name: name}})
	default:
		_, err = client.Agents.GetAgent(ctx, &agentdv1.GetAgentRequest{Name: name})
	}
	return err
}

func (r *runner) nobody(ctx context.Context, _ step) error {
	client, err := r.connect(r.place.NobodyAddress)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.System.GetInfo(ctx, &agentdv1.GetInfoRequest{})
	if err == nil {
		say("answered")
	}
	return err
}

// decide goes by JSON: a daemon without approvals has a contract without these fields.
func (r *runner) decide(ctx context.Context, step step) error {
	listing := &agentdv1.ListApprovalsRequest{}
	if err := protojson.Unmarshal(fmt.Appendf(nil, `{"run": %q}`, step.Run), listing); err != nil {
		return err
	}
	answer, err := r.client.Approvals.ListApprovals(ctx, listing)
	if err != nil {
		return err
	}
	text, err := protojson.Marshal(answer.GetApprovals()[0])
	if err != nil {
		return err
	}
	var found struct{ Name, ArgumentsSha256 string }
	if err := json.Unmarshal(text, &found); err != nil {
		return err
	}
	decision, err := json.Marshal(map[string]string{
		"name": found.Name, "decision": "APPROVAL_STATE_" + step.Decision, "reason": step.Reason, "argumentsSha256": found.ArgumentsSha256,
	})
	if err != nil {
		return err
	}
	request := &agentdv1.DecideApprovalRequest{}
	if err := protojson.Unmarshal(decision, request); err != nil {
		return err
	}
	decided, err := r.client.Approvals.DecideApproval(ctx, request)
	if err == nil {
		approval := decided.GetApproval()
		say("decided %s state=%s reason=%s", approval.GetTool(), value(approval.GetState()), quoted(approval.GetReason()))
	}
	return err
}

func (r *runner) unhost(context.Context, step) error {
	err := r.host.Close()
	if err == nil {
		say("unhosted")
	}
	return err
}

func (r *runner) close(context.Context, step) error {
	for _, watch := range r.watches {
		watch.stop()
	}
	err := r.client.Close()
	if err == nil {
		say("closed")
	}
	return err
}
