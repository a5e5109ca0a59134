/* check.h: what the test programs share: a failed check says where, and ends with 1. */
#ifndef CHECK_H
#define CHECK_H

#include <agentd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                             \
    }                                                                      \
  } while (0)

#define GET_INFO "agentd.v1.SystemService/GetInfo"
#define GET_RUN "agentd.v1.RunService/GetRun"
#define WATCH "agentd.v1.EventService/Watch"

/* End with the error's words unless a status is good. */
static inline void must(agentd_status status, agentd_error **error) {
  if (status > 0) return;
  fprintf(stderr, "%s: %s\n", agentd_error_reason(*error), agentd_error_message(*error));
  exit(1);
}

static inline agentd_client *open_client(const char *address, const agentd_options *options) {
  agentd_client *client;
  agentd_error *error;
  must(agentd_open(address, options, &client, &error), &error);
  return client;
}

static inline agentd_reply *call(agentd_client *client, const char *method, const char *request) {
  agentd_reply *reply;
  agentd_error *error;
  must(agentd_call(client, method, request, strlen(request), 30000, &reply, &error), &error);
  return reply;
}

/* Check that a failure has a code and a reason, and free it. */
static inline void expect(agentd_status status, agentd_error **error, int code,
                          const char *reason) {
  if (status != AGENTD_FAILED || agentd_error_code(*error) != code ||
      strcmp(agentd_error_reason(*error), reason) != 0) {
    fprintf(stderr, "expected %d %s, got status %d: %d %s: %s\n", code, reason, (int)status,
            (int)agentd_error_code(*error), agentd_error_reason(*error),
            agentd_error_message(*error));
    exit(1);
  }
  CHECK(agentd_error_message(*error)[0] != 0);
  agentd_error_free(*error);
}

#endif
