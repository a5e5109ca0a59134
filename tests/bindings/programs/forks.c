/* forks.c: fork before the library is used, which is allowed, and after, which is told. */
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void join(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void in_child(agentd_client *client, agentd_stream *stream, agentd_reply *kept,
                     const char *address) {
  agentd_client *another;
  agentd_stream *other;
  agentd_reply *reply;
  agentd_error *error;
  expect(agentd_call(client, GET_INFO, "{}", 2, 1000, &reply, &error), &error, 9, "LIBRARY_FORKED");
  expect(agentd_open(address, NULL, &another, &error), &error, 9, "LIBRARY_FORKED");
  expect(agentd_stream_open(client, WATCH, "{}", 2, &other, &error), &error, 9, "LIBRARY_FORKED");
  expect(agentd_stream_next(stream, -1, &reply, &error), &error, 9, "LIBRARY_FORKED");
  CHECK(agentd_reply_data(kept, NULL)[0] == '{');
  agentd_reply_free(kept);
  agentd_stream_cancel(stream);
  agentd_stream_free(stream);
  agentd_close(client);
}

int main(int argc, char **argv) {
  agentd_client *client;
  agentd_stream *stream;
  agentd_reply *reply;
  agentd_error *error;
  pid_t child;
  CHECK(argc > 1);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    client = open_client(argv[1], NULL);
    agentd_reply_free(call(client, GET_INFO, "{}"));
    agentd_close(client);
    _exit(0);
  }
  join(child);
  client = open_client(argv[1], NULL);
  must(agentd_stream_open(client, WATCH, "{}", 2, &stream, &error), &error);
  reply = call(client, GET_INFO, "{}");
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(20); /* a child that hangs fails */
    in_child(client, stream, reply, argv[1]);
    _exit(0);
  }
  join(child);
  /* The parent has lost nothing. */
  agentd_reply_free(reply);
  agentd_reply_free(call(client, GET_INFO, "{}"));
  agentd_stream_free(stream);
  agentd_close(client);
  puts("forked");
  return 0;
}
