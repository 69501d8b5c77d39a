// What a parked fiber cannot cost less than: as many stacks as asked for, each mapped, guarded and touched once, in plain C.
// Belongs beside `memory_per_parked_fiber` and `park_new_fiber` of tulp_micro.
//
//   raw_stacks [COUNT [STACK_BYTES]]      prints lines of name, value and unit; the default is what a fiber has with its guard
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  // since Linux 6.13: a guard that does not split its mapping
#endif

static double now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

// The number behind `key` in a file of lines "Key:  number kB", in bytes.
static double bytes_in(const char* path, const char* key) {
  char line[256];
  double value = 0;
  FILE* file = fopen(path, "r");
  if (!file) return 0;
  while (fgets(line, sizeof line, file))
    if (strncmp(line, key, strlen(key)) == 0) value = strtod(line + strlen(key), NULL) * 1024;
  fclose(file);
  return value;
}

static double footprint_bytes(void) {
  return bytes_in("/proc/self/smaps_rollup", "Rss:") + bytes_in("/proc/self/status", "VmPTE:");
}

int main(int argc, char** argv) {
  long count = argc > 1 ? atol(argv[1]) : 100000, page = sysconf(_SC_PAGESIZE);
  size_t stack_bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : (256 + 64) * 1024;
  if (count < 1 || stack_bytes < 2 * (size_t)page) {
    fputs("usage: raw_stacks [COUNT [STACK_BYTES]]\n", stderr);
    return 2;
  }
  int guards_split = 0;
  double before = footprint_bytes(), start = now_ns();
  for (long i = 0; i < count; ++i) {
    char* stack = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) return perror("mmap"), 1;
    if (!guards_split && madvise(stack, page, MADV_GUARD_INSTALL) < 0) guards_split = 1;
    if (guards_split && mprotect(stack, page, PROT_NONE) < 0) return perror("mprotect (vm.max_map_count?)"), 1;
    stack[stack_bytes - 1] = 1;
  }
  printf("raw_stack %10.1f ns\n", (now_ns() - start) / (double)count);
  printf("raw_stack_memory %10.1f B\n", (footprint_bytes() - before) / (double)count);
  return 0;
}
