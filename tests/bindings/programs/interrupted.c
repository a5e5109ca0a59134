/* interrupted.c: open an ADDRESS; the host's handlers are still its own, and SIGINT ends it. */
#include <signal.h>

#include "check.h"

static void handler(int number) { (void)number; }

int main(int argc, char **argv) {
  struct sigaction mine, found;
  agentd_client *client;
  CHECK(argc > 1);
  memset(&mine, 0, sizeof mine);
  mine.sa_handler = handler;
  CHECK(sigaction(SIGPIPE, &mine, NULL) == 0);
  client = open_client(argv[1], NULL);
  CHECK(sigaction(SIGPIPE, NULL, &found) == 0 && found.sa_handler == handler);
  CHECK(sigaction(SIGTERM, NULL, &found) == 0 && found.sa_handler == SIG_DFL);
  CHECK(sigaction(SIGINT, NULL, &found) == 0 && found.sa_handler == SIG_DFL);
  agentd_reply_free(call(client, GET_INFO, "{}"));
  raise(SIGINT);
  puts("still here");
  return 0;
}
