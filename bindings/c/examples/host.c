/* host.c: lend a tool to an agent and have it answer, with the daemon inside and no protobuf library.
 * `host ADDRESS [SETTINGS]`, where the settings may name a scripted model in place of a real one. */
#include <agentd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char MANIFEST[] =
    "{\"host\":\"calculator\",\"toolset\":\"toolsets/math\",\"tools\":[{\"name\":"
    "\"toolsets/math/tools/add\",\"description\":\"Adds the integers a and b.\",\"effect\":"
    "\"EFFECT_CLASS_READ_ONLY\",\"inputSchemaJson\":\"{\\\"type\\\":\\\"object\\\"}\"}]}";
#define RUN "{\"run\":{\"goal\":\"How much is 19 and 23?\",\"tools\":[\"math/*\"]}}"

static void must(agentd_status status, agentd_error **error) {
  if (status != AGENTD_FAILED) return;
  fprintf(stderr, "%s: %s\n", agentd_error_reason(*error), agentd_error_message(*error));
  exit(1);
}

static agentd_reply *call(agentd_client *client, const char *method, const char *request) {
  agentd_error *error;
  agentd_reply *reply;
  must(agentd_call(client, method, request, strlen(request), 60000, &reply, &error), &error);
  return reply;
}

/* Copy the text or number that follows a key: of names and tokens, which hold no escapes. */
static const char *field(const char *json, const char *key, char *text, size_t size) {
  const char *found = strstr(json, key);
  found = found ? found + strlen(key) + strspn(found + strlen(key), "\\\":") : "";
  snprintf(text, size, "%.*s", (int)strcspn(found, "\\\",}"), found);
  return text;
}

/* Execute the calls that one message brings, and report them. */
static void work(agentd_client *client, const char *message) {
  char name[128], attempt[16], token[128], a[24], b[24], report[512];
  for (; (message = strstr(message, "\"invoke\":")) != NULL; message++) {
    long sum = atol(field(message, "\\\"a\\\"", a, sizeof a));
    sum += atol(field(message, "\\\"b\\\"", b, sizeof b));
    snprintf(report, sizeof report, "{\"completions\":[{\"call\":\"%s\",\"attempt\":%s,"
             "\"leaseToken\":\"%s\",\"resultJson\":\"%ld\"}]}",
             field(message, "\"call\"", name, sizeof name),
             field(message, "\"attempt\"", attempt, sizeof attempt),
             field(message, "\"leaseToken\"", token, sizeof token), sum);
    agentd_reply_free(call(client, "agentd.v1.ToolHostService/CompleteCalls", report));
  }
}

int main(int argc, char **argv) {
  char run[128], get[160], state[64] = "";
  agentd_options options = AGENTD_OPTIONS_INIT;
  agentd_client *client;
  agentd_stream *calls;
  agentd_reply *reply;
  agentd_error *error;
  options.settings = argc > 2 ? argv[2] : NULL;
  must(agentd_open(argc > 1 ? argv[1] : "embedded:state", &options, &client, &error), &error);
  must(agentd_stream_open(client, "agentd.v1.ToolHostService/WatchCalls", MANIFEST,
                          strlen(MANIFEST), &calls, &error), &error);
  must(agentd_stream_next(calls, 10000, &reply, &error), &error); /* the welcome: we are known */
  agentd_reply_free(reply);
  reply = call(client, "agentd.v1.RunService/CreateRun", RUN);
  snprintf(get, sizeof get, "{\"name\":\"%s\"}",
           field(agentd_reply_data(reply, NULL), "\"name\"", run, sizeof run));
  while (!strstr(state, "SUCCEEDED") && !strstr(state, "FAILED")) {
    agentd_reply_free(reply);
    must(agentd_stream_next(calls, 100, &reply, &error), &error);
    work(client, agentd_reply_data(reply, NULL)); /* of a reply that is NULL: "" */
    agentd_reply_free(reply);
    reply = call(client, "agentd.v1.RunService/GetRun", get);
    field(agentd_reply_data(reply, NULL), "\"state\"", state, sizeof state);
  }
  puts(agentd_reply_data(reply, NULL));
  agentd_reply_free(reply);
  agentd_stream_free(calls);
  agentd_close(client);
  return strstr(state, "FAILED") != NULL;
}
