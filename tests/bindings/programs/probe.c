/* probe.c: open an ADDRESS and say how that went, without expecting anything. A second argument has
 * it forget to close, with a stream open. */
#include "check.h"

int main(int argc, char **argv) {
  agentd_client *client = NULL;
  agentd_reply *reply = NULL;
  agentd_error *error = NULL;
  agentd_status status;
  CHECK(argc > 1);
  status = agentd_open(argv[1], NULL, &client, &error);
  if (status == AGENTD_OK)
    status = agentd_call(client, GET_INFO, "{}", 2, 30000, &reply, &error);
  if (status == AGENTD_OK) {
    printf("answered: %s\n", agentd_reply_data(reply, NULL));
    agentd_reply_free(reply);
    if (argc < 3) {
      agentd_close(client);
    } else {
      agentd_stream *stream;
      must(agentd_stream_open(client, WATCH, "{}", 2, &stream, &error), &error);
    }
    return 0;
  }
  printf("%d %d %s: %s\n", (int)status, (int)agentd_error_code(error), agentd_error_reason(error),
         agentd_error_message(error));
  agentd_error_free(error);
  return 3;
}
