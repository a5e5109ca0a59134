/* threads.c: eight threads that open something at once, before anything else has; then, by a client
 * whose opener has ended, eight threads with a thousand calls each at one ADDRESS, beside a stream that
 * two more threads pull until it is cancelled. */
#include <pthread.h>

#include "check.h"

enum { THREADS = 8, CALLS = 1000, PULLERS = 2 };

static agentd_client *client;
static agentd_stream *stream;

static void *opener(void *address) {
  agentd_client *another = open_client("unix:/nobody", NULL);
  if (address) client = open_client((const char *)address, NULL);
  agentd_close(another);
  return NULL;
}

static void *caller(void *unused) {
  int number;
  (void)unused;
  for (number = 0; number < CALLS; number++) {
    if (number % 4) {
      agentd_reply_free(call(client, "agentd.v1.RunService/ListRuns", "{\"pageSize\":1}"));
    } else {
      agentd_reply *reply;
      agentd_error *error;
      expect(agentd_call(client, GET_RUN, "{\"name\":\"runs/x\"}", 17, 30000, &reply, &error),
             &error, 5, "RUN_NOT_FOUND");
    }
  }
  return NULL;
}

static void *puller(void *unused) {
  agentd_reply *reply;
  agentd_status status;
  (void)unused;
  while ((status = agentd_stream_next(stream, -1, &reply, NULL)) == AGENTD_OK)
    agentd_reply_free(reply);
  CHECK(status == AGENTD_END);
  return NULL;
}

int main(int argc, char **argv) {
  pthread_t callers[THREADS], pullers[PULLERS];
  agentd_error *error;
  int number;
  CHECK(argc > 1);
  for (number = 0; number < THREADS; number++)
    CHECK(pthread_create(&callers[number], NULL, opener, number ? NULL : argv[1]) == 0);
  for (number = 0; number < THREADS; number++) pthread_join(callers[number], NULL);
  must(agentd_stream_open(client, WATCH, "{}", 2, &stream, &error), &error);
  for (number = 0; number < PULLERS; number++)
    CHECK(pthread_create(&pullers[number], NULL, puller, NULL) == 0);
  for (number = 0; number < THREADS; number++)
    CHECK(pthread_create(&callers[number], NULL, caller, NULL) == 0);
  for (number = 0; number < THREADS; number++) pthread_join(callers[number], NULL);
  agentd_stream_cancel(stream);
  for (number = 0; number < PULLERS; number++) pthread_join(pullers[number], NULL);
  agentd_stream_free(stream);
  agentd_close(client);
  puts("8000 calls");
  return 0;
}
