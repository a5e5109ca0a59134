/* host_death.c: at an ADDRESS with SETTINGS, `create` a run and die by SIGKILL as soon as it is
 * acknowledged; or `await` that one run and print it. */
#include <signal.h>

#include "check.h"

int main(int argc, char **argv) {
  agentd_options options = AGENTD_OPTIONS_INIT;
  agentd_client *client;
  CHECK(argc > 3);
  options.settings = argv[2];
  client = open_client(argv[1], &options);
  if (strcmp(argv[3], "create") == 0) {
    agentd_reply_free(call(client, "agentd.v1.RunService/CreateRun",
                           "{\"run\":{\"name\":\"runs/survivor\",\"goal\":\"live\"}}"));
    raise(SIGKILL);
  }
  puts(agentd_reply_data(
      call(client, "agentd.v1.RunService/WaitRun", "{\"name\":\"runs/survivor\"}"), NULL));
  agentd_close(client);
  return 0;
}
