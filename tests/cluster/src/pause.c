/* The first process of a pod, which keeps its namespaces while containers come and go. */
#include <signal.h>
#include <unistd.h>

static void end(int signal) { _exit(signal == SIGTERM ? 0 : 1); }

int main(void) {
  /* Children are other containers' orphans: nobody asks how they ended. */
  signal(SIGCHLD, SIG_IGN);
  signal(SIGTERM, end);
  signal(SIGINT, end);
  for (;;) pause();
}
