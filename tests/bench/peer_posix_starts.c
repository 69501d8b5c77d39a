// What starting a process costs at least, and waiting for its end: posix_spawn and waitpid, one after the other.
//
//   peer_posix_starts [COUNT]      prints one line of JSON
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

int main(int argc, char** argv) {
  int count = argc > 1 ? atoi(argv[1]) : 1000;
  char* arguments[] = {"/bin/true", NULL};
  char* environment[] = {NULL};
  double start = now_us();
  for (int i = 0; i < count; ++i) {
    pid_t pid;
    int status;
    if (posix_spawn(&pid, arguments[0], NULL, NULL, arguments, environment) != 0) return 1;
    if (waitpid(pid, &status, 0) != pid || status != 0) return 1;
  }
  printf("{\"starts\": %d, \"us\": %.1f}\n", count, (now_us() - start) / count);
  return 0;
}
